"""How a job ends, in the words of the `finished` event."""

from __future__ import annotations

from typing import Any

from include.local_aws.runner.failures import JobFailedError, JobStoppedError, ServiceFailedError


def ending(problem: BaseException | None) -> dict[str, Any]:
    """Status and reason for how a job ended."""
    if problem is None:
        return {"status": "Completed", "failure_reason": None}
    if isinstance(problem, JobStoppedError):
        return {"status": "Stopped", "failure_reason": None}
    reason = problem.reason if isinstance(problem, JobFailedError) else ServiceFailedError().reason
    return {"status": "Failed", "failure_reason": reason}
