"""Starts the server for the booster in /opt/ml/model."""

import os
from pathlib import Path

from local_aws.images.script_server.model import load_script
from local_aws.images.serving import serve
from local_aws.images.xgboost.model import load_booster

MODEL_DIR = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"

# With a script of the user's, AWS's image serves that instead.
serve(load_script if os.environ.get("SAGEMAKER_PROGRAM") else lambda: load_booster(MODEL_DIR))
