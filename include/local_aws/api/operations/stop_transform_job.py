"""StopTransformJob: an empty response; the job is Stopping at once."""

from __future__ import annotations

from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import stop_job
from include.local_aws.api.kinds import TRANSFORM


def stop_transform_job(call: Call) -> None:
    """Refused for a job that has ended or does not exist."""
    stop_job(call, TRANSFORM)
