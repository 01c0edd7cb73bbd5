"""Builds the small, JSON-safe result of a completed job that a sensor returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from sagemaker_jobs.aws import to_json_safe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.output_files import OutputListing

_NEVER_SENT = frozenset({"Tags"})


class _Usage(TypedDict):
    job_name: str
    status: str
    instance_type: str | None
    instance_count: int | None
    billed_seconds: float


class EarlierAttempt(_Usage):
    """An attempt before the one that completed, which AWS bills as well."""

    failure_reason: str | None


class JobResult(_Usage):
    """What a completed job ran, used and wrote; times are epoch seconds."""

    job_arn: str
    kind: str
    attempt: int | None
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    exit_message: str | None
    model_name: str | None
    output_uri: str | None
    output_uris: list[str]
    listing: OutputListing | None
    earlier_attempts: list[EarlierAttempt]
    resolution: dict[str, Any] | None
    is_trial: bool
    request: dict[str, Any]


def build_job_result(
    job: Job,
    request_members: frozenset[str],
    *,
    earlier_jobs: Sequence[Job] = (),
    resumed_jobs: Sequence[Job] = (),
    resolution: dict[str, Any] | None = None,
    listing: OutputListing | None = None,
    is_trial: bool = False,
) -> JobResult:
    """The result of ``job``; ``request_members`` are the members of its kind's Create request.

    ``earlier_jobs`` are the attempts before it, ``resumed_jobs`` those of them whose outputs it completed: their
    prefixes come first in ``output_uris``, and each object's output is below the first prefix that has it.
    ``resolution`` holds the details of a ``Resolved`` decision; with it the job may have failed. ``listing`` locates
    the listing of its output. ``is_trial``: whether it ran with what its spec's trial says.

    ``billed_seconds`` are instance seconds: AWS bills from start to end, times instances, without provisioning.
    ``request`` is what AWS ran, which after a retry on another instance type differs from the original request.
    """
    kind, found = job.kind, job.description
    return JobResult(
        **_measure_usage(job),
        job_arn=job.arn,
        kind=kind.name,
        attempt=job.attempt,
        created_at=_to_epoch_seconds(found.get("CreationTime")),
        started_at=_to_epoch_seconds(found.get(kind.started_field)),
        ended_at=_to_epoch_seconds(found.get(kind.ended_field)),
        exit_message=found.get("ExitMessage"),
        model_name=found.get("ModelName"),
        output_uri=next(iter(kind.list_output_uris(found)), None),
        output_uris=collect_output_uris(resumed_jobs, job),
        listing=listing,
        earlier_attempts=[
            EarlierAttempt(**_measure_usage(each), failure_reason=each.description.get("FailureReason"))
            for each in earlier_jobs
        ],
        resolution=resolution,
        is_trial=is_trial,
        request=to_json_safe(
            {key: value for key, value in found.items() if key in request_members - _NEVER_SENT}
        ),
    )


def collect_output_uris(resumed_jobs: Sequence[Job], job: Job) -> list[str]:
    """The output URIs of ``job`` and of the attempts that it resumed, in the order of the attempts."""
    return [uri for each in (*resumed_jobs, job) for uri in each.kind.list_output_uris(each.description)]


def _measure_usage(job: Job) -> _Usage:
    resources = job.kind.get_cluster_config(job.description)
    return _Usage(
        job_name=job.name,
        status=job.status,
        # AWS selects the type where the request allows several.
        instance_type=resources.get("SelectedInstanceType") or resources.get("InstanceType"),
        instance_count=resources.get("InstanceCount"),
        billed_seconds=job.kind.compute_billed_seconds(job.description),
    )


def _to_epoch_seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
