"""Starts the server for the script that SAGEMAKER_PROGRAM names."""

from local_aws.images.script_server.model import load_script
from local_aws.images.serving import serve

serve(load_script)
