"""Starts the server for the artefact in /opt/ml/model."""

from local_aws.images.linear_learner.formats import LinearLearner
from local_aws.images.linear_learner.model import load_model
from local_aws.images.serving import MODEL_DIR, serve

serve(lambda: LinearLearner(load_model(MODEL_DIR)))
