"""Whether a job or model that exists is the one that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_jobs.errors import JobMismatch

if TYPE_CHECKING:
    from sagemaker_jobs.jobs import Job
    from sagemaker_jobs.spec import JobSpec

_NOT_DESCRIBED = frozenset({"Tags"})
_MISSING = "nothing"


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where ``found`` is not what ``wanted`` says, as sentences; what only AWS filled in does not count.

    An empty text, list or dict that was sent equals one that Describe leaves out.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key in wanted
            for line in differences(wanted[key], found.get(key, _MISSING), f"{path}.{key}" if path else key)
        ]
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple) and len(wanted) == len(found):
        return [
            line
            for index, pair in enumerate(zip(wanted, found, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    if wanted == found or (found == _MISSING and wanted in ("", [], {}, None)):
        return []
    return [f"{path} is {found!r}, asked for was {wanted!r}"]


def check_job(spec: JobSpec, job: Job, previous: Job | None) -> None:
    """Raise JobMismatch unless ``job`` is attempt ``job.attempt`` of ``spec``.

    An attempt that follows another may run on another instance type of the spec's list and, when it resumes a
    transform, on a manifest of what is left.
    """
    wanted = {
        key: value for key, value in spec.request_for(job.attempt or 1).items() if key not in _NOT_DESCRIBED
    }
    found = job.description
    if previous is not None:
        wanted, found = _without_what_may_change(spec, wanted, found)
    found_differences = differences(wanted, found)
    if found_differences:
        raise JobMismatch(
            f"{spec.kind.noun} {job.name} exists ({job.status}) but is not what this task asks for, so it "
            f"is not used: {'; '.join(found_differences)}. What to do: clear the submitting task, which "
            "gives the job a new name.",
            job_name=job.name,
            status=job.status,
        )


def check_model(request: dict[str, Any], found: dict[str, Any]) -> None:
    """Raise JobMismatch unless the model ``found`` has the content of ``request``."""
    wanted = {key: value for key, value in request.items() if key not in _NOT_DESCRIBED}
    found_differences = differences(wanted, found)
    if found_differences:
        raise JobMismatch(
            f"model {request['ModelName']} exists but differs from the request, so it is not used: "
            f"{'; '.join(found_differences)}. What to do: clear the submitting task, which gives the model "
            "a new name, or delete the model."
        )


def _without_what_may_change(
    spec: JobSpec, wanted: dict[str, Any], found: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    ignored_resources = {"InstanceType"} if spec.instance_types else set()
    resources = {
        key: value for key, value in spec.kind.resources(wanted).items() if key not in ignored_resources
    }
    wanted = dict(wanted)
    if "ProcessingResources" in wanted:
        wanted["ProcessingResources"] = {**wanted["ProcessingResources"], "ClusterConfig": resources}
    if "TransformResources" in wanted:
        wanted["TransformResources"] = resources
    if spec.resume and "TransformInput" in wanted:
        wanted["TransformInput"] = {
            key: value for key, value in wanted["TransformInput"].items() if key != "DataSource"
        }
    return wanted, found
