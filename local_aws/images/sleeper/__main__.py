"""Starts the sleeper; its times are environment variables of the model or the job."""

import os

from local_aws.images.serving import serve
from local_aws.images.sleeper.model import Sleeper

serve(lambda: Sleeper(os.environ))
