"""What may follow a transform that failed for good: decided by whoever knows what its objects hold.

A transform fails as a whole when one of its objects is refused. This package knows which objects those are;
what to do about them (cut them, leave them out, give up) is for a ``Continuation`` that the DAG hands to the
operator and to the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sagemaker_jobs.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.resuming import Remainder
    from sagemaker_jobs.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Settled:
    """The work is done, whatever its last job ended as; ``account`` is small and JSON-safe, for XCom."""

    account: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NothingMore:
    """No further job is due although objects are left; ``because`` is said with the job's own failure."""

    because: str


class Continuation(Protocol):
    """Asked after each attempt that failed for good, and once more when one has completed."""

    def after(
        self, hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
    ) -> Settled | Remainder | NothingMore | None:
        """What follows ``jobs``, all attempts of ``spec`` so far.

        A ``Remainder`` is run as the next attempt; None is as if there was no continuation. Called any number
        of times for the same jobs, also at the same time: what it writes must be the same each time.
        """
        ...


def failed_for_good(job: Job) -> bool:
    """Whether the job failed for a reason that the same request would meet again."""
    return job.status == "Failed" and not reason_of(job.description.get("FailureReason")).retryable
