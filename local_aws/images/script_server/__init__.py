"""The scikit-learn image: a user's script with model_fn, input_fn, predict_fn and output_fn, served."""
