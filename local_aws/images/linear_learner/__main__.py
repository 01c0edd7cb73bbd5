"""Starts the server for the artefact in /opt/ml/model."""

import os
from pathlib import Path

from local_aws.images.linear_learner.formats import LinearLearner
from local_aws.images.linear_learner.model import load_model
from local_aws.images.serving import serve

MODEL_DIR = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"

serve(lambda: LinearLearner(load_model(MODEL_DIR)))
