"""The small, JSON-safe account of a completed job that a sensor hands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from sagemaker_jobs.aws import json_safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.output_listing import OutputListing

_NEVER_SENT = frozenset({"Tags"})


class EarlierAttempt(TypedDict):
    """An attempt before the one that completed, which AWS bills as well."""

    job_name: str
    status: str
    failure_reason: str | None
    instance_type: str | None
    instance_count: int | None
    billed_seconds: float


class JobResult(TypedDict):
    """What a completed job was, took and wrote; times are epoch seconds."""

    job_name: str
    job_arn: str
    kind: str
    status: str
    attempt: int | None
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    instance_type: str | None
    instance_count: int | None
    billed_seconds: float
    exit_message: str | None
    model_name: str | None
    output_uri: str | None
    output_uris: list[str]
    listing: OutputListing | None
    earlier: list[EarlierAttempt]
    settled: dict[str, Any] | None
    request: dict[str, Any]


def job_result(
    job: Job,
    request_members: frozenset[str],
    *,
    earlier: Sequence[Job] = (),
    resumed: Sequence[Job] = (),
    settled: dict[str, Any] | None = None,
    listing: OutputListing | None = None,
) -> JobResult:
    """The account of ``job``; ``request_members`` are the members of its kind's Create request.

    ``earlier`` are the attempts before it, ``resumed`` those of them whose outputs it completed: their
    prefixes come first in ``output_uris``, and each object's output is below the first that has it. ``settled``
    is the account of a Continuation; with it the job may have failed. ``listing`` says where what it wrote is listed.

    ``billed_seconds`` are instance seconds: AWS bills from start to end, times instances, and not the time
    before. ``request`` is what AWS says it ran, which after a retry on another instance type is not what was
    first asked for.
    """
    kind, found = job.kind, job.description
    resources = kind.resources(found)
    outputs = all_output_uris(resumed, job)
    return JobResult(
        job_name=job.name,
        job_arn=job.arn,
        kind=kind.name,
        status=job.status,
        attempt=job.attempt,
        created_at=_epoch(found.get("CreationTime")),
        started_at=_epoch(found.get(kind.started_field)),
        ended_at=_epoch(found.get(kind.ended_field)),
        instance_type=_instance_type(resources),
        instance_count=resources.get("InstanceCount"),
        billed_seconds=kind.billed_seconds(found),
        exit_message=found.get("ExitMessage"),
        model_name=found.get("ModelName"),
        output_uri=next(iter(kind.output_uris(found)), None),
        output_uris=outputs,
        listing=listing,
        earlier=[_earlier(each) for each in earlier],
        settled=settled,
        request=json_safe(
            {key: value for key, value in found.items() if key in request_members - _NEVER_SENT}
        ),
    )


def all_output_uris(resumed: Sequence[Job], job: Job) -> list[str]:
    """Where ``job`` and the attempts that it completed have written, the first attempt's first."""
    return [uri for each in (*resumed, job) for uri in each.kind.output_uris(each.description)]


def _earlier(job: Job) -> EarlierAttempt:
    resources = job.kind.resources(job.description)
    return EarlierAttempt(
        job_name=job.name,
        status=job.status,
        failure_reason=job.description.get("FailureReason"),
        instance_type=_instance_type(resources),
        instance_count=resources.get("InstanceCount"),
        billed_seconds=job.kind.billed_seconds(job.description),
    )


def _instance_type(resources: Mapping[str, Any]) -> str | None:
    """The type that AWS took, where the request left it a choice."""
    found: str | None = resources.get("SelectedInstanceType") or resources.get("InstanceType")
    return found


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
