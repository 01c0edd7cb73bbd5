"""What Create, Stop and Describe have in common for both kinds of job."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.errors import AwsError, ResourceLimitError
from include.local_aws.api.kinds import JobKind
from include.local_aws.api.quotas import check_quotas
from include.local_aws.api.tagging import tags_of_request
from include.local_aws.jobs.job import Order
from include.local_aws.state.jobs import DuplicateJobError, Job, Status

COUNTED: dict[str, tuple[Status, ...]] = {"end": ("InProgress", "Stopping"), "stopping": ("InProgress",)}


def find_job(call: Call, kind: JobKind) -> Job | None:
    """The job the request names, or None."""
    name = call.request[kind.name_field]
    return call.services.store.jobs.get(kind.kind, call.region, call.name_key(name))


def describe_job(call: Call, kind: JobKind, missing: AwsError) -> tuple[Job, dict[str, Any]]:
    """The job, and the members that both kinds of job answer with; raises `missing`."""
    job = find_job(call, kind)
    if job is None:
        raise missing
    echoed = {name: value for name, value in job.request.items() if name != "Tags"}
    return job, {
        **echoed,
        f"{kind.prefix}JobArn": job.arn,
        f"{kind.prefix}JobStatus": job.status,
        "CreationTime": job.created_at,
        f"{kind.prefix}StartTime": job.started_at,
        f"{kind.prefix}EndTime": job.ended_at,
        "FailureReason": job.failure_reason,
    }


def refuse_duplicate(call: Call, kind: JobKind) -> None:
    """Raise ResourceInUse for a name that any job of this region ever had."""
    existing = find_job(call, kind)
    if existing is not None:
        raise catalogue.duplicate_job(existing.arn)


def create_job(
    call: Call,
    kind: JobKind,
    choices: list[tuple[str, int]],
    *,
    containers: list[dict[str, Any]],
    network_isolation: bool,
) -> dict[str, Any]:
    """Record the job and let it begin; `choices` are clusters (type, count) in order of preference.

    Raises ResourceInUse for a name in use and ResourceLimitExceeded when no choice fits the quotas; a job
    over quota is rejected, never queued.
    """
    settings, store = call.services.settings, call.services.store
    name = call.request[kind.name_field]
    tags = tags_of_request(call.request)
    refused: AwsError | None = None
    for number, (instance_type, count) in enumerate(choices):
        job = Job(
            kind=kind.kind,
            region=call.region,
            name=name,
            name_key=call.name_key(name),
            arn=call.arn(kind.resource, name),
            status="InProgress",
            request=call.request,
            containers=containers,
            network_isolation=network_isolation,
            instance_type=instance_type,
            instance_count=count,
            created_at=call.now,
            modified_at=call.now,
        )
        try:
            store.jobs.create(job, tags, check_quotas(settings, kind, job), COUNTED[settings.quota_released])
        except DuplicateJobError as error:
            raise catalogue.duplicate_job(error.arn) from error
        except ResourceLimitError as error:
            refused = refused or error
            continue
        call.services.supervisor.start(
            Order(
                job=job,
                choices=choices[number:],
                faults=call.services.faults.take_runner_faults(job.name),
            )
        )
        return {f"{kind.prefix}JobArn": job.arn}
    if refused is None:
        raise ValueError(f"{call.operation}: no cluster to choose from")
    raise refused


def stop_job(call: Call, kind: JobKind) -> None:
    """Stopping at once, Stopped later; idempotent or refused while Stopping, as set."""
    job = find_job(call, kind)
    if job is None:
        raise catalogue.nothing_to_stop(call.request[kind.name_field])
    stopping = call.services.store.jobs.update_if(
        job, ("InProgress",), status="Stopping", modified_at=call.now
    )
    if stopping is not None:
        call.services.supervisor.stop(stopping)
        return
    job = find_job(call, kind) or job
    if job.status != "Stopping" or call.services.settings.stop_while_stopping == "refuse":
        raise catalogue.not_stoppable(kind.words, job.status)
