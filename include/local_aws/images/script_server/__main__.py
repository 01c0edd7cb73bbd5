"""Starts the server for the script that SAGEMAKER_PROGRAM names."""

from include.local_aws.images.script_server.model import load_script
from include.local_aws.images.serving import serve

serve(load_script)
