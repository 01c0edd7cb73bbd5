"""Creates, describes, lists and stops jobs of both kinds."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.errors import AwsError, ResourceLimitError
from local_aws.api.resources.job_kinds import JobKind
from local_aws.api.resources.listing import list_page
from local_aws.api.resources.tags import parse_tags
from local_aws.api.rules import aws_messages
from local_aws.api.rules.job_quotas import build_quota_check
from local_aws.state.jobs import Job, JobStatus
from local_aws.state.rows import DuplicateError

QUOTA_STATUSES: dict[str, tuple[JobStatus, ...]] = {
    "end": ("InProgress", "Stopping"),
    "stopping": ("InProgress",),
}


def find_job(call: Call, kind: JobKind) -> Job | None:
    """The job the request names, or None."""
    name = call.request[kind.name_member]
    return call.services.store.jobs.get(kind.name, call.region, call.build_name_key(name))


def describe_job(call: Call, kind: JobKind) -> tuple[Job, dict[str, Any]]:
    """The job, and the response members that both kinds share; raises ValidationError if there is no such job."""
    job = find_job(call, kind)
    if job is None:
        raise aws_messages.missing_job(call.request[kind.name_member])
    return job, _describe(kind, job)


def list_jobs(call: Call, kind: JobKind) -> dict[str, Any]:
    """One page of summaries."""

    def describe(job: Job) -> dict[str, Any]:
        return {**_describe(kind, job), "LastModifiedTime": job.modified_at, "ExitMessage": job.exit_message}

    return list_page(
        call,
        call.services.store.jobs,
        describe,
        default_sort_order=kind.default_sort_order,
        equals={"kind": kind.name},
    )


def _describe(kind: JobKind, job: Job) -> dict[str, Any]:
    echoed = {name: value for name, value in job.request.items() if name != "Tags"}
    return {
        **echoed,
        f"{kind.member_prefix}JobArn": job.arn,
        f"{kind.member_prefix}JobStatus": job.status,
        "CreationTime": job.created_at,
        f"{kind.member_prefix}StartTime": job.started_at,
        f"{kind.member_prefix}EndTime": job.ended_at,
        "FailureReason": job.failure_reason,
    }


def refuse_duplicate(call: Call, kind: JobKind) -> None:
    """Raise ResourceInUse for a name that a job of this region has, whatever its state."""
    existing = find_job(call, kind)
    if existing is not None:
        raise aws_messages.duplicate_job(existing.arn)


def create_job(
    call: Call,
    kind: JobKind,
    clusters: list[tuple[str, int]],
    *,
    containers: list[dict[str, Any]],
    network_isolation: bool,
) -> dict[str, Any]:
    """Record and start the job; `clusters` are instance types with counts, in order of preference.

    Raises ResourceInUse for a name in use and ResourceLimitExceeded if no cluster fits the quotas; a job over quota
    is rejected, never queued.
    """
    settings, store = call.services.settings, call.services.store
    name = call.request[kind.name_member]
    tags = parse_tags(call.request)
    quota_error: AwsError | None = None
    for number, (instance_type, count) in enumerate(clusters):
        job = Job(
            **call.build_columns(f"{kind.name}-job", name),
            kind=kind.name,
            status="InProgress",
            containers=containers,
            network_isolation=network_isolation,
            instance_type=instance_type,
            instance_count=count,
            modified_at=call.now,
        )
        try:
            store.jobs.create_within_quota(
                job, tags, build_quota_check(settings, kind, job), QUOTA_STATUSES[settings.quota_released]
            )
        except DuplicateError as error:
            raise aws_messages.duplicate_job(error.arn) from error
        except ResourceLimitError as error:
            quota_error = quota_error or error
            continue
        faults = call.services.faults.take_runner_faults(job.name)
        call.services.supervisor.start(job, clusters[number:], faults)
        return {f"{kind.member_prefix}JobArn": job.arn}
    if quota_error is None:
        raise ValueError(f"{call.operation}: no cluster to choose from")
    raise quota_error


def stop_job(call: Call, kind: JobKind) -> None:
    """Set the job to Stopping at once, Stopped follows; a Stopping job is handled as stop_while_stopping says."""
    job = find_job(call, kind)
    if job is None:
        raise aws_messages.missing_job_to_stop(call.request[kind.name_member])
    stopping = call.services.store.jobs.update_if_status(
        job, ("InProgress",), status="Stopping", modified_at=call.now
    )
    if stopping is not None:
        call.services.supervisor.stop(stopping)
        return
    job = find_job(call, kind) or job
    if job.status != "Stopping" or call.services.settings.stop_while_stopping == "refuse":
        raise aws_messages.job_not_stoppable(kind.display_name, job.status)
