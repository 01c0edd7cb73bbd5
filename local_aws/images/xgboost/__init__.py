"""The XGBoost image in algorithm mode: serves a booster if the xgboost library is installed."""
