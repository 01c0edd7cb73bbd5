"""Errors that end a job, with AWS's texts as failure reasons, and the status that follows from them.

JobFailedError
├── ClientFailedError       the caller's data, model or image
├── AlgorithmFailedError    the container
└── ServiceFailedError      the machine below it
JobStoppedError             stopped by request or by MaxRuntimeInSeconds: not a failure
"""

from __future__ import annotations

from typing import Any, Literal

SEE_LOGS = "See job logs for more information"
PING_FAILED = (
    "Model container failed to respond to ping. Please ensure /ping endpoint is implemented and responds with an "
    "HTTP 200 status code"
)
OUT_OF_MEMORY = (
    "Please use an instance type with more memory, or reduce the size of job data processed on an instance."
)
MAX_REASON_CHARACTERS = 1024


class JobFailedError(Exception):
    """The job ends as Failed with `reason` as FailureReason (at most 1,024 characters)."""

    prefix = ""

    def __init__(self, message: str = SEE_LOGS) -> None:
        self.reason = f"{self.prefix}: {message}"[:MAX_REASON_CHARACTERS]
        super().__init__(self.reason)


class ClientFailedError(JobFailedError):
    prefix = "ClientError"


class AlgorithmFailedError(JobFailedError):
    prefix = "AlgorithmError"


class ServiceFailedError(JobFailedError):
    prefix = "InternalServerError"

    def __init__(self) -> None:
        # The two spaces are AWS's.
        super().__init__("We encountered an internal error.  Please try again.")


def build_out_of_memory_failure(kind: Literal["ClientError", "InternalServerError"]) -> JobFailedError:
    """The failure of a job whose containers needed more memory than their instance has."""
    return ClientFailedError(OUT_OF_MEMORY) if kind == "ClientError" else ServiceFailedError()


class JobStoppedError(Exception):
    """The job ends as Stopped."""


def status_from_error(error: BaseException | None) -> dict[str, Any]:
    """Status and failure reason of a job that ended with `error`, or None if it completed."""
    if error is None:
        return {"status": "Completed", "failure_reason": None}
    if isinstance(error, JobStoppedError):
        return {"status": "Stopped", "failure_reason": None}
    reason = error.reason if isinstance(error, JobFailedError) else ServiceFailedError().reason
    return {"status": "Failed", "failure_reason": reason}
