"""Describe and stop jobs, and say why one ended badly."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call, client_of, says_absent
from sagemaker_jobs.kinds import ENDED, JobKind
from sagemaker_jobs.outcome import explain
from sagemaker_jobs.tags import REPORTED_TAG, STOPPED_TAG, tags_of, try_to_tag

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.errors import SageMakerJobError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as AWS describes it; ``attempt`` is None for a job that was only named, not specified.

    ``settled`` is the account of a Continuation that takes the work for done although the job failed.
    """

    kind: JobKind
    name: str
    description: dict[str, Any]
    attempt: int | None = None
    settled: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return str(self.description[self.kind.status_field])

    @property
    def arn(self) -> str:
        """The job's ARN."""
        return str(self.description[self.kind.arn_field])

    @property
    def ended(self) -> bool:
        """Whether nothing runs or is billed any more."""
        return self.status in ENDED


def describe_job(hook: SageMakerHook, kind: JobKind, name: str, *, attempt: int | None = None) -> Job | None:
    """The job named ``name``, or None where AWS knows none.

    Survives throttling, 5xx and broken connections.
    """
    try:
        found = call(getattr(client_of(hook), kind.describe), {kind.name_field: name})
    except ClientError as error:
        if says_absent(error):
            return None
        raise
    return Job(kind=kind, name=name, description=found, attempt=attempt)


def stop_job(hook: SageMakerHook, kind: JobKind, name: str, *, because: str) -> bool:
    """Stop the job if it runs, after tagging it with ``because``; whether it ran.

    The tag tells this stop from one by a person, which is respected. Idempotent, and a job that ended
    meanwhile is fine. One that Describe does not know is stopped all the same: AWS may have taken it a moment ago.
    """
    found = describe_job(hook, kind, name)
    if found is not None and found.status != "InProgress":
        return False
    if found is not None:
        try_to_tag(hook, found.arn, {STOPPED_TAG: because})
    try:
        call(getattr(client_of(hook), kind.stop), {kind.name_field: name})
    except ClientError as error:
        if not says_absent(error):
            raise
        log.info("%s %s is not there, or has ended: %s", kind.noun.capitalize(), name, error)
        return False
    log.warning("Stopped %s %s: %s.", kind.noun, name, because)
    return True


def failure_of(
    hook: SageMakerHook, job: Job, tags: dict[str, str] | None = None, *, because: str = ""
) -> SageMakerJobError:
    """The exception for a job that ended badly; also marks the job as reported, see ``ensure_job``.

    ``tags`` are what is known of the job's tags although AWS may not have taken them; ``because`` is said
    first.
    """
    error = explain(
        hook, job.kind, job.name, job.description, {**tags_of(hook, job.arn), **(tags or {})}, because=because
    )
    try_to_tag(hook, job.arn, {REPORTED_TAG: "true"})
    return error
