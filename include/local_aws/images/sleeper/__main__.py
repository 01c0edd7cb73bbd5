"""Starts the sleeper; its times are environment variables of the model or the job."""

import os

from include.local_aws.images.serving import serve
from include.local_aws.images.sleeper.model import Sleeper


def seconds(name: str) -> float:
    return float(os.environ.get(name, "0"))


serve(
    lambda: Sleeper(
        per_record=seconds("SLEEPER_SECONDS_PER_RECORD"),
        per_request=seconds("SLEEPER_SECONDS_PER_REQUEST"),
        start=seconds("SLEEPER_START_SECONDS"),
        workers=int(os.environ.get("SLEEPER_WORKERS", "0")),
    )
)
