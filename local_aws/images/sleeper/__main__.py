"""Starts the sleeper; its times are environment variables of the model or the job."""

import os

from local_aws.images.serving import serve
from local_aws.images.sleeper.model import Sleeper


def read_seconds(name: str) -> float:
    return float(os.environ.get(name, "0"))


serve(
    lambda: Sleeper(
        seconds_per_record=read_seconds("SLEEPER_SECONDS_PER_RECORD"),
        seconds_per_request=read_seconds("SLEEPER_SECONDS_PER_REQUEST"),
        start_seconds=read_seconds("SLEEPER_START_SECONDS"),
        workers=int(os.environ.get("SLEEPER_WORKERS", "0")),
    )
)
