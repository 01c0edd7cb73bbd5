"""The small, JSON-safe account of a completed job that a sensor hands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from sagemaker_jobs.aws import json_safe

if TYPE_CHECKING:
    from datetime import datetime

    from sagemaker_jobs.jobs import Job

_NEVER_SENT = frozenset({"Tags"})


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
    request: dict[str, Any]


def job_result(job: Job, request_members: frozenset[str]) -> JobResult:
    """The account of ``job``; ``request_members`` are the members of its kind's Create request.

    ``billed_seconds`` are instance seconds: AWS bills from start to end, times instances, and not the time
    before. ``request`` is what AWS says it ran, which after a retry on another instance type is not what was
    first asked for.
    """
    kind, found = job.kind, job.description
    resources = kind.resources(found)
    started, ended = found.get(kind.started_field), found.get(kind.ended_field)
    count = resources.get("InstanceCount")
    outputs = kind.output_uris(found)
    return JobResult(
        job_name=job.name,
        job_arn=job.arn,
        kind=kind.name,
        status=job.status,
        attempt=job.attempt,
        created_at=_epoch(found.get("CreationTime")),
        started_at=_epoch(started),
        ended_at=_epoch(ended),
        instance_type=resources.get("SelectedInstanceType") or resources.get("InstanceType"),
        instance_count=count,
        billed_seconds=round((ended - started).total_seconds() * (count or 1), 3)
        if started and ended
        else 0.0,
        exit_message=found.get("ExitMessage"),
        model_name=found.get("ModelName"),
        output_uri=outputs[0] if outputs else None,
        output_uris=outputs,
        request=json_safe(
            {key: value for key, value in found.items() if key in request_members - _NEVER_SENT}
        ),
    )


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
