"""Status fields of the `finished` event."""

from __future__ import annotations

from typing import Any

from local_aws.runner.failures import JobFailedError, JobStoppedError, ServiceFailedError


def status_from_error(error: BaseException | None) -> dict[str, Any]:
    """Status and failure reason of a job that ended with `error`, or None if it completed."""
    if error is None:
        return {"status": "Completed", "failure_reason": None}
    if isinstance(error, JobStoppedError):
        return {"status": "Stopped", "failure_reason": None}
    reason = error.reason if isinstance(error, JobFailedError) else ServiceFailedError().reason
    return {"status": "Failed", "failure_reason": reason}
