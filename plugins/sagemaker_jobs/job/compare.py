"""Compares an existing job or model with the request for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sagemaker_jobs.errors import JobMismatch

if TYPE_CHECKING:
    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.spec import JobSpec

_NOT_DESCRIBED = frozenset({"Tags"})
_MISSING: str = "nothing"


def find_differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """The fields of ``wanted`` that differ in ``found``, a sentence each; fields that only AWS filled in do not count.

    An empty text, list or dict in the request equals a field that Describe leaves out.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in wanted
            for line in find_differences(
                wanted[key], found.get(key, _MISSING), f"{path}.{key}" if path else key
            )
        ]
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple) and len(wanted) == len(found):
        return [
            line
            for index, pair in enumerate(zip(wanted, found, strict=True))
            for line in find_differences(*pair, f"{path}[{index}]")
        ]
    if wanted == found or (found == _MISSING and wanted in ("", [], {}, None)):
        return []
    return [f"{path} is {_spell(found)}, requested was {_spell(wanted)}"]


def _spell(value: Any) -> str:
    """A value of a request as JSON; a text in single quotes."""
    if isinstance(value, str):
        return value if value == _MISSING else repr(value)
    return json.dumps(value, default=str)


def find_job_differences(spec: JobSpec, job: Job) -> list[str]:
    """The differences between ``job`` and attempt ``job.attempt`` of ``spec``, a sentence each; [] if there are none.

    An attempt after the first may use another instance type of the spec's list. If the spec allows a transform to
    resume, it may also read a manifest of the remaining objects, on no more instances than requested.
    """
    attempt = job.attempt or 1
    wanted = {key: value for key, value in spec.build_request(attempt).items() if key not in _NOT_DESCRIBED}
    if attempt > 1:
        found_type = spec.kind.get_cluster_config(job.description).get("InstanceType")
        if found_type in spec.instance_types:
            spec.kind.get_cluster_config(wanted)["InstanceType"] = found_type
        source = job.description.get("TransformInput", {}).get("DataSource", {})
        if spec.resume and source.get("S3DataSource", {}).get("S3DataType") == "ManifestFile":
            wanted["TransformInput"]["DataSource"] = source
            resources = spec.kind.get_cluster_config(wanted)
            count = spec.kind.get_cluster_config(job.description).get("InstanceCount")
            if (count or 0) <= resources["InstanceCount"]:
                resources["InstanceCount"] = count
    return find_differences(wanted, job.description)


def is_trial(spec: JobSpec, job: Job) -> bool:
    """Whether ``job`` is the first attempt of ``spec`` and tries what the spec's trial says."""
    if spec.trial is None or job.attempt != 1:
        return False
    wanted = spec.build_trial_request()
    return not find_differences({key: wanted[key] for key in wanted.keys() - _NOT_DESCRIBED}, job.description)


def check_job(spec: JobSpec, job: Job) -> None:
    """Raise JobMismatch unless ``job`` is attempt ``job.attempt`` of ``spec``, or its trial."""
    found_differences = [] if is_trial(spec, job) else find_job_differences(spec, job)
    if found_differences:
        raise JobMismatch(
            f"{spec.kind.noun} {job.name} exists ({job.status}) but is not what this task asks for, so it is "
            f"not used: {'; '.join(found_differences)}.",
            advice="Clear the submitting task, which gives the job a new name.",
            job_name=job.name,
            status=job.status,
        )


def check_model(request: dict[str, Any], found: dict[str, Any]) -> None:
    """Raise JobMismatch unless the model ``found`` has the content of ``request``."""
    wanted = {key: value for key, value in request.items() if key not in _NOT_DESCRIBED}
    package = wanted.get("PrimaryContainer", {}).get("ModelPackageName")
    if package is not None and "PrimaryContainer" not in found and found.get("Containers"):
        # AWS expands a package of several containers; each of them names the package.
        found = {**found, "PrimaryContainer": found["Containers"][0]}
    found_differences = find_differences(wanted, found)
    if found_differences:
        raise JobMismatch(
            f"model {request['ModelName']} exists but differs from the request, so it is not used: "
            f"{'; '.join(found_differences)}.",
            advice="Clear the submitting task, which gives the model a new name, or delete the model.",
        )
