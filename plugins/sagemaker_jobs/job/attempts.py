"""Builds the request of the next attempt: another instance type after no capacity, or the remaining input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_jobs.failure.reasons import classify_failure_reason
from sagemaker_jobs.job.resume import find_remaining_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.resume import RemainingInput
    from sagemaker_jobs.job.spec import JobSpec


def build_attempt_request(
    hook: SageMakerHook,
    spec: JobSpec,
    earlier_jobs: Sequence[Job],
    remaining_input: RemainingInput | None = None,
) -> dict[str, Any]:
    """The request of the attempt after ``earlier_jobs``, which is empty for the first attempt.

    Its input is ``remaining_input`` if given, else what the earlier attempts left. Writes the manifest of a resumed
    transform to S3.
    """
    request = spec.build_request(len(earlier_jobs) + 1)
    if earlier_jobs:
        instance_type = choose_instance_type(spec, earlier_jobs)
        if instance_type is not None:
            spec.kind.get_cluster_config(request)["InstanceType"] = instance_type
        remaining_input = remaining_input or find_remaining_input(hook, spec, earlier_jobs)
        if remaining_input is not None:
            request["TransformInput"]["DataSource"] = remaining_input.data_source
            resources = spec.kind.get_cluster_config(request)
            resources["InstanceCount"] = min(resources["InstanceCount"], remaining_input.max_instance_count)
    return request


def choose_instance_type(spec: JobSpec, earlier_jobs: Sequence[Job]) -> str | None:
    """The instance type of the attempt after ``earlier_jobs``.

    After a capacity error the next type of the spec's list, starting over after the last; otherwise the type of the
    last attempt. None if the request has none.
    """
    requested_type = spec.kind.get_cluster_config(spec.request).get("InstanceType")
    if requested_type is None:
        return None
    last = earlier_jobs[-1].description
    used_type = str(spec.kind.get_cluster_config(last).get("InstanceType", requested_type))
    if classify_failure_reason(last.get("FailureReason")).name != "capacity":
        return used_type
    types = list_instance_types(spec)
    return types[(types.index(used_type) + 1) % len(types)] if used_type in types else str(requested_type)


def list_instance_types(spec: JobSpec) -> list[str]:
    """The instance types that attempts of ``spec`` may use, in the order in which they are tried."""
    requested_type = spec.kind.get_cluster_config(spec.request).get("InstanceType")
    return list(
        dict.fromkeys([*([] if requested_type is None else [str(requested_type)]), *spec.instance_types])
    )
