"""Describes and stops jobs, and reports why one failed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_client, is_not_found_error
from sagemaker_jobs.failure.messages import build_job_error
from sagemaker_jobs.kinds import ENDED_STATUSES, JobKind
from sagemaker_jobs.tags import REPORTED_TAG, STOPPED_TAG, read_tags, try_to_tag

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.errors import SageMakerJobError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as AWS describes it; ``attempt`` is None for a job known by name only, without a JobSpec.

    ``resolution`` holds the details of a ``Resolved`` decision: the work is done although the job failed.
    """

    kind: JobKind
    name: str
    description: dict[str, Any]
    attempt: int | None = None
    resolution: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return str(self.description[self.kind.status_field])

    @property
    def arn(self) -> str:
        """The job's ARN."""
        return str(self.description[self.kind.arn_field])

    @property
    def has_ended(self) -> bool:
        """Whether the job no longer runs and is no longer billed."""
        return self.status in ENDED_STATUSES


def describe_job(hook: SageMakerHook, kind: JobKind, name: str, *, attempt: int | None = None) -> Job | None:
    """The job ``name``, or None if AWS has none.

    Retries throttling, 5xx and broken connections.
    """
    try:
        found = call_with_retries(getattr(get_client(hook), kind.describe_method), {kind.name_field: name})
    except ClientError as error:
        if is_not_found_error(error):
            return None
        raise
    return Job(kind=kind, name=name, description=found, attempt=attempt)


def stop_job(hook: SageMakerHook, kind: JobKind, name: str, *, because: str) -> bool:
    """Tag the job with ``because`` and stop it; whether it was running.

    The tag distinguishes this stop from one by a person, after which no attempt is started. Idempotent; a job that has
    ended is no error. A job that Describe does not find is stopped too: AWS may have accepted it a moment ago.
    """
    found = describe_job(hook, kind, name)
    if found is not None and found.status != "InProgress":
        return False
    if found is not None:
        try_to_tag(hook, found.arn, {STOPPED_TAG: because})
    try:
        call_with_retries(getattr(get_client(hook), kind.stop_method), {kind.name_field: name})
    except ClientError as error:
        if not is_not_found_error(error):
            raise
        log.info("%s %s does not exist or has ended: %s", kind.noun.capitalize(), name, error)
        return False
    log.warning("Stopped %s %s: %s.", kind.noun, name, because)
    return True


def build_reported_error(
    hook: SageMakerHook, job: Job, tags: dict[str, str] | None = None, *, because: str = ""
) -> SageMakerJobError:
    """Build the error for a job that failed or was stopped, and tag the job on AWS as reported, see ``ensure_job``.

    ``tags`` are added to those that AWS lists, in case adding them failed; ``because`` is the message's first line.
    """
    all_tags = {**read_tags(hook, job.arn), **(tags or {})}
    error = build_job_error(hook, job.kind, job.name, job.description, all_tags, because=because)
    try_to_tag(hook, job.arn, {REPORTED_TAG: "true"})
    return error
