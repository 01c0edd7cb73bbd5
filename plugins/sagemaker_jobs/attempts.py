"""What the next attempt changes: the instance type after no capacity, the input once a part is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_jobs.reasons import reason_of
from sagemaker_jobs.resuming import left_to_do

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.resuming import Remainder
    from sagemaker_jobs.spec import JobSpec


def request_of(
    hook: SageMakerHook, spec: JobSpec, earlier: Sequence[Job], remainder: Remainder | None = None
) -> dict[str, Any]:
    """The request of the attempt that follows ``earlier``; () for the first.

    It works on ``remainder`` where that is given, else on what was left: a transform that resumes writes its
    manifest to S3 here.
    """
    request = spec.request_for(len(earlier) + 1)
    if earlier:
        instance_type = instance_type_of(spec, earlier)
        if instance_type is not None:
            spec.kind.resources(request)["InstanceType"] = instance_type
        remainder = remainder or left_to_do(hook, spec, earlier)
        if remainder is not None:
            request["TransformInput"]["DataSource"] = remainder.source
            resources = spec.kind.resources(request)
            resources["InstanceCount"] = min(int(resources["InstanceCount"]), remainder.most_instances)
    return request


def instance_type_of(spec: JobSpec, earlier: Sequence[Job]) -> str | None:
    """The instance type of the attempt that follows ``earlier``.

    The next one of the spec's list after one that had no capacity, from the start again after the last; else
    the one that ran before. None where the request names none.
    """
    wanted = spec.kind.resources(spec.request).get("InstanceType")
    if wanted is None:
        return None
    last = earlier[-1].description
    used = str(spec.kind.resources(last).get("InstanceType", wanted))
    if reason_of(last.get("FailureReason")).name != "capacity":
        return used
    types = types_of(spec)
    return types[(types.index(used) + 1) % len(types)] if used in types else str(wanted)


def types_of(spec: JobSpec) -> list[str]:
    """The instance types that attempts of ``spec`` may use, in the order in which they are tried."""
    wanted = spec.kind.resources(spec.request).get("InstanceType")
    return list(dict.fromkeys([*([] if wanted is None else [str(wanted)]), *spec.instance_types]))
