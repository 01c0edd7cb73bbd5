"""Interface for deciding what follows a transform that failed permanently.

A transform fails as a whole when the model rejects one of its objects. This package finds those objects; a
``Continuation``, which the DAG passes to both operator and sensor, decides what to do about them: split them, leave
them out, or give up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sagemaker_jobs.failure.reasons import classify_failure_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.resume import RemainingInput
    from sagemaker_jobs.job.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Resolved:
    """The work is done, even if its last job failed; ``details`` are small and JSON-safe, for XCom."""

    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoFurtherAttempt:
    """No further attempt although objects remain.

    Attributes:
        because: added to the job's error message.
        advice: what to do; None where the job's own failure says it.
    """

    because: str
    advice: str | None = None


class Continuation(Protocol):
    """Decides after each attempt that failed permanently, and once more after one has completed."""

    def decide_next(
        self, hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
    ) -> Resolved | RemainingInput | NoFurtherAttempt | None:
        """What follows ``jobs``, all attempts of ``spec`` so far.

        A ``RemainingInput`` is run as the next attempt; None means the default behaviour. Called any number of times
        for the same jobs, also concurrently: it must write the same objects each time.
        """
        ...


def is_permanent_failure(job: Job) -> bool:
    """Whether the job failed for a reason that would make the same request fail again."""
    reason = classify_failure_reason(job.description.get("FailureReason"))
    return job.status == "Failed" and not reason.retryable
