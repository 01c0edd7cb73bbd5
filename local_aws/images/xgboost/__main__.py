"""Starts the server for the booster in /opt/ml/model."""

import os

from local_aws.images.script_server.model import load_script
from local_aws.images.serving import MODEL_DIR, serve
from local_aws.images.xgboost.model import load_booster

# With a script of the user's, AWS's image serves that instead.
serve(load_script if os.environ.get("SAGEMAKER_PROGRAM") else lambda: load_booster(MODEL_DIR))
