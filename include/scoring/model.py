"""Which model a run uses: read from the pipeline and from what SageMaker says of it, before anything is spent.

The registry has no aliases of its own, so an alias is what a version's customer metadata says: its property `alias`
holds one or several, between commas. A version is used only once somebody approved it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from include.scoring.config import Pipeline
from include.scoring.errors import ModelError
from include.scoring.messages import count, one_of
from include.scoring.rules import Noun
from include.scoring.sections import ModelSection

APPROVED = "Approved"
#: The customer metadata property that holds a version's aliases.
ALIAS_PROPERTY = "alias"


class ModelPlan(Noun):
    """The model of one run: an existing one by `name`, or one made for the run.

    It is made of `package` (an ARN; `group` and `version` where it is one of a group's), or of the pipeline's own
    containers. `containers` is how many there are (0: not known), `key` tells it from other models in history and tags.
    """

    name: str | None
    containers: int
    key: str
    package: str | None = None
    group: str | None = None
    version: int | None = None

    def sentence(self) -> str:
        """What the plan says of it."""
        if self.name is not None:
            return f"The model is {self.name}, which exists in SageMaker."
        if self.package is None:
            return f"A model is made for the run from {count(self.containers, 'container')} of the pipeline."
        which = (
            f"the package {self.key}" if self.version is None else f"version {self.version} of {self.group}"
        )
        return f"A model is made for the run from {which} ({self.package})."


def label(model: Mapping[str, Any]) -> str:
    """The model of a manifest for people: its name in SageMaker, and what it was made of."""
    if model.get("version") is not None:
        return f"{model['name']}, version {model['version']} of {model['group']}"
    return f"{model['name']}, of {model['key']}" if model.get("package") else str(model["name"])


def stated_model(pipeline: Pipeline) -> ModelPlan:
    """What the pipeline file alone says of its model."""
    section = pipeline.model
    if section.name is not None:
        return ModelPlan(name=section.name, containers=0, key=section.name)
    if section.package is not None:
        return ModelPlan(name=None, containers=0, key=_tail(section.package), package=section.package)
    if section.group is not None:
        return ModelPlan(name=None, containers=0, key=_tail(section.group), group=_tail(section.group))
    parts = [f"{container.image} {container.model_data}" for container in section.containers]
    digest = hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]
    return ModelPlan(name=None, containers=len(section.containers), key=f"containers-{digest}")


def existing_model(description: Mapping[str, Any]) -> ModelPlan:
    """From DescribeModel's answer."""
    containers = description.get("Containers") or [description.get("PrimaryContainer")]
    name = description["ModelName"]
    return ModelPlan(name=name, containers=len(containers), key=name)


def packaged_model(description: Mapping[str, Any]) -> ModelPlan:
    """From DescribeModelPackage's answer.

    Raises ModelError when no model may, or can, be made of the package.
    """
    arn = description["ModelPackageArn"]
    status = description["ModelPackageStatus"]
    if status != "Completed":
        raise ModelError(
            f"model: {arn} is {status}, so no model can be made of it; wait for it, or name another"
        )
    approval, version = description.get("ModelApprovalStatus"), description.get("ModelPackageVersion")
    if version is not None and approval != APPROVED:
        raise ModelError(
            f"model: {arn} is {approval}; only an approved version may score. Approve it (UpdateModelPackage, or the "
            f"registry in SageMaker Studio), or name another version"
        )
    containers = description.get("InferenceSpecification", {}).get("Containers", ())
    if not containers:
        raise ModelError(f"model: {arn} has no InferenceSpecification, so it names no container to run")
    sources = [number for number, each in enumerate(containers, start=1) if "ModelDataSource" in each]
    if sources:
        raise ModelError(
            f"model: container {sources[0]} of {arn} names its artefacts by ModelDataSource, which batch transform "
            f"cannot use; register the version with ModelDataUrl, one .tar.gz"
        )
    return ModelPlan(
        name=None,
        containers=len(containers),
        key=_tail(arn),
        package=arn,
        group=None if version is None else description["ModelPackageGroupName"],
        version=version,
    )


def check_instance_type(
    model: ModelPlan, description: Mapping[str, Any], instance_types: Iterable[str]
) -> None:
    """Raise ModelError when the package was registered for other instance types only."""
    supported = description.get("InferenceSpecification", {}).get("SupportedTransformInstanceTypes")
    other = [each for each in instance_types if supported and each not in supported]
    if other:
        raise ModelError(
            f"transform: found {other[0]}, and {model.package} was registered for {one_of(supported)}; "
            f"use one of these, as transform.instance_type or in the trigger form, or register the version for "
            f"{other[0]}"
        )


def has_alias(description: Mapping[str, Any], alias: str) -> bool:
    """Whether DescribeModelPackage's answer has this alias in its customer metadata."""
    text = description.get("CustomerMetadataProperties", {}).get(ALIAS_PROPERTY, "")
    return alias in (each.strip() for each in text.split(","))


def no_version(section: ModelSection, versions: Iterable[Mapping[str, Any]]) -> ModelError:
    """Why a group gives no version to score with; `versions` are ListModelPackages' summaries of all there are."""
    statuses: dict[str, int] = {}
    for each in versions:
        status = str(each.get("ModelApprovalStatus"))
        statuses[status] = statuses.get(status, 0) + 1
    total = sum(statuses.values())
    held = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    there = f"it has {count(total, 'version')}: {held}" if total else "it has no version at all"
    group = section.group
    if section.version is not None:
        return ModelError(f"model: the group {group} has no version {section.version}; {there}")
    if section.alias is not None:
        return ModelError(
            f"model: no approved version of the group {group} has the alias {section.alias!r}; {there}. Set the "
            f"customer metadata property {ALIAS_PROPERTY!r} of one to it"
        )
    return ModelError(
        f"model: the group {group} has no approved version; {there}. Approve one, or register one"
    )


def unknown_model(section: ModelSection, said: str) -> ModelError:
    """SageMaker does not know what the pipeline names; `said` are its words."""
    kind, name = next(
        (kind, name)
        for kind, name in (("name", section.name), ("package", section.package), ("group", section.group))
        if name is not None
    )
    return ModelError(
        f"model.{kind}: found {name!r}, which SageMaker does not have in this account and region ({said}); correct it, "
        f"or look at region and aws_conn_id of the pipeline"
    )


def _tail(name: str) -> str:
    """`group/7` of a version's ARN, or the name of anything else."""
    return name.rsplit(":", 1)[-1].split("/", 1)[-1]
