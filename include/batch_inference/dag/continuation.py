"""What follows a failed transform: the search for the records that the model refuses, imported when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_jobs.job.resume import select_resume_chain

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.continuation import NoFurtherAttempt, Resolved
    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.resume import RemainingInput
    from sagemaker_jobs.job.spec import JobSpec


@dataclass(frozen=True, slots=True)
class BadRecordContinuation:
    """A `Continuation` of a failed transform that finds the refused records, by the pipeline as it was planned."""

    def decide_next(
        self, hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
    ) -> Resolved | RemainingInput | NoFurtherAttempt | None:
        """See `sagemaker_jobs.job.continuation.Continuation`."""
        chain = select_resume_chain(spec, jobs)
        if not chain or (len(chain) == 1 and chain[0].status == "Completed"):
            return None
        from batch_inference.dag import bad_record_search

        return bad_record_search.decide_next(hook, spec, jobs, chain)
