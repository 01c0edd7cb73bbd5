"""Validates CreateModel beyond its shapes."""

from __future__ import annotations

from typing import Any

from local_aws.api.errors import ValidationError

MAX_CONTAINERS = 15


def check_model_request(request: dict[str, Any]) -> None:
    """Raise ValidationError for container definitions that no batch job can use."""
    primary, containers = request.get("PrimaryContainer"), request.get("Containers")
    if (primary is None) == (not containers):
        found = "both" if primary is not None else "neither"
        raise ValidationError(f"Give either PrimaryContainer or Containers, found {found}")
    definitions = [primary] if primary is not None else list(containers or [])
    for number, container in enumerate(definitions, start=1):
        where = "PrimaryContainer" if primary is not None else f"container {number} of Containers"
        if "ModelPackageName" in container:
            conflicting = [name for name in ("Image", "ModelDataUrl", "ModelDataSource") if name in container]
            if conflicting:
                raise ValidationError(
                    f"Both ModelPackageName and {conflicting[0]} are given in {where}; a package has its own"
                )
        elif "InferenceSpecificationName" in container:
            raise ValidationError(f"InferenceSpecificationName in {where} requires a ModelPackageName")
        elif "Image" not in container:
            raise ValidationError(f"Image is missing in {where}")
        if container.get("Mode") == "MultiModel":
            raise ValidationError(
                f"Mode MultiModel in {where}: batch transform cannot use multi-model containers"
            )
        if "ModelDataUrl" in container and "ModelDataSource" in container:
            raise ValidationError(f"Both ModelDataUrl and ModelDataSource are given in {where}; give one")
    if request.get("InferenceExecutionConfig", {}).get("Mode") == "Direct":
        raise ValidationError(
            "InferenceExecutionConfig.Mode Direct invokes containers one by one, which batch transform cannot; "
            "use Serial"
        )


def check_containers(definitions: list[dict[str, Any]]) -> None:
    """Raise ValidationError for invalid host names or environments, once packages are resolved to containers."""
    if len(definitions) > MAX_CONTAINERS:
        raise ValidationError(f"The model has {len(definitions)} containers, allowed are {MAX_CONTAINERS}")
    names = [container["ContainerHostname"] for container in definitions if "ContainerHostname" in container]
    if len(definitions) > 1 and names and len(names) != len(definitions):
        raise ValidationError(
            f"ContainerHostname is given for {len(names)} of {len(definitions)} containers; give it for all or none"
        )
    if len(set(names)) != len(names):
        raise ValidationError("ContainerHostname must be unique within a model")
    size = sum(
        len(key.encode()) + len(value.encode())
        for container in definitions
        for key, value in container.get("Environment", {}).items()
    )
    if size > 32 * 1024:
        raise ValidationError(f"Environment of all containers is {size} bytes, allowed are {32 * 1024}")
