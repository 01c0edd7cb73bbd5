"""Determines the model of a run from the pipeline and SageMaker's descriptions, before anything is spent.

SageMaker's model registry has no aliases, so they are kept in a version's customer metadata: its property `alias` holds
one or several, separated by commas. Only approved versions are used.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from batch_inference.common.errors import ModelError
from batch_inference.common.formatting import format_count, join_quoted
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import ModelSection

APPROVED = "Approved"
#: The customer metadata property that holds a version's aliases.
ALIAS_PROPERTY = "alias"


class ModelPlan(FrozenModel):
    """The model of one run: an existing one by `name`, or one created for the run.

    It is created from `package` (an ARN; `group` and `version` where it belongs to a model package group), or from the
    pipeline's own containers. `containers` is their number (0: not known), `key` identifies the model in history and
    tags; `model_data` are the S3 URIs of the archives that its containers load.
    """

    key: str
    name: str | None = None
    containers: int = 0
    package: str | None = None
    group: str | None = None
    version: int | None = None
    model_data: tuple[str, ...] = ()

    def describe(self) -> str:
        """The plan's sentence about the model."""
        if self.name is not None:
            return f"The model is {self.name}, which exists in SageMaker."
        if self.package is None:
            return f"A model is made for the run from {format_count(self.containers, 'container')} of the pipeline."
        which = (
            f"the package {self.key}" if self.version is None else f"version {self.version} of {self.group}"
        )
        return f"A model is made for the run from {which} ({self.package})."


def format_model(model: Mapping[str, Any]) -> str:
    """The model of a manifest as text: its name in SageMaker, and what it was created from."""
    if model.get("version") is not None:
        return f"{model['name']}, version {model['version']} of {model['group']}"
    return f"{model['name']}, of {model['key']}" if model.get("package") else str(model["name"])


def plan_model_without_lookup(pipeline: Pipeline) -> ModelPlan:
    """The model as far as the pipeline file alone describes it."""
    section = pipeline.model
    if section.name is not None:
        return ModelPlan(key=section.name, name=section.name)
    if section.package is not None:
        return ModelPlan(key=_strip_arn(section.package), package=section.package)
    if section.group is not None:
        group = _strip_arn(section.group)
        return ModelPlan(key=group, group=group)
    parts = [f"{container.image} {container.model_data}" for container in section.containers]
    digest = hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]
    archives = tuple(container.model_data for container in section.containers if container.model_data)
    return ModelPlan(key=f"containers-{digest}", containers=len(section.containers), model_data=archives)


def plan_existing_model(description: Mapping[str, Any]) -> ModelPlan:
    """The model in a response of DescribeModel."""
    containers = description.get("Containers") or [description.get("PrimaryContainer")]
    name = description["ModelName"]
    return ModelPlan(key=name, name=name, containers=len(containers), model_data=_list_archives(containers))


def _list_archives(containers: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The archives of ContainerDefinitions; a container of several models has a prefix in place of one."""
    loading = (each for each in containers if each.get("Mode") != "MultiModel")
    return tuple(each["ModelDataUrl"] for each in loading if each.get("ModelDataUrl"))


def plan_packaged_model(description: Mapping[str, Any]) -> ModelPlan:
    """The model to create from the package in a response of DescribeModelPackage.

    Raises ModelError when the package is not approved, or no model can be created from it.
    """
    arn = description["ModelPackageArn"]
    status = description["ModelPackageStatus"]
    if status != "Completed":
        raise ModelError(
            f"model: {arn} is {status}, so no model can be made of it; wait for it, or name another"
        )
    approval_status, version = description.get("ModelApprovalStatus"), description.get("ModelPackageVersion")
    if version is not None and approval_status != APPROVED:
        raise ModelError(
            f"model: {arn} is {approval_status}; only an approved version may score. Approve it "
            "(UpdateModelPackage, or the registry in SageMaker Studio), or name another version"
        )
    containers = description.get("InferenceSpecification", {}).get("Containers", ())
    if not containers:
        raise ModelError(f"model: {arn} has no InferenceSpecification, so it names no container to run")
    unsupported = [number for number, each in enumerate(containers, start=1) if "ModelDataSource" in each]
    if unsupported:
        raise ModelError(
            f"model: container {unsupported[0]} of {arn} names its artefacts by ModelDataSource, which batch transform "
            f"cannot use; register the version with ModelDataUrl, one .tar.gz"
        )
    return ModelPlan(
        key=_strip_arn(arn),
        containers=len(containers),
        package=arn,
        group=None if version is None else description["ModelPackageGroupName"],
        version=version,
        model_data=_list_archives(containers),
    )


def check_package_instance_types(
    model: ModelPlan, description: Mapping[str, Any], instance_types: Iterable[str]
) -> None:
    """Raise ModelError when the package was registered for other instance types only."""
    supported = description.get("InferenceSpecification", {}).get("SupportedTransformInstanceTypes")
    unsupported = [each for each in instance_types if supported and each not in supported]
    if unsupported:
        raise ModelError(
            f"transform: found {unsupported[0]}, and {model.package} was registered for {join_quoted(supported)}; "
            f"use one of these, as transform.instance_type or in the trigger form, or register the version for "
            f"{unsupported[0]}"
        )


def has_alias(description: Mapping[str, Any], alias: str) -> bool:
    """Whether a response of DescribeModelPackage has this alias in its customer metadata."""
    text = description.get("CustomerMetadataProperties", {}).get(ALIAS_PROPERTY, "")
    return alias in (each.strip() for each in text.split(","))


def build_no_version_error(section: ModelSection, versions: Iterable[Mapping[str, Any]]) -> ModelError:
    """The error that says why no version of a group can be used; `versions` are all its ListModelPackages summaries."""
    statuses = Counter(str(each.get("ModelApprovalStatus")) for each in versions)
    total = statuses.total()
    counts = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    found = f"it has {format_count(total, 'version')}: {counts}" if total else "it has no version at all"
    group = section.group
    if section.version is not None:
        return ModelError(f"model: the group {group} has no version {section.version}; {found}")
    if section.alias is not None:
        return ModelError(
            f"model: no approved version of the group {group} has the alias {section.alias!r}; {found}. "
            f"Set the customer metadata property {ALIAS_PROPERTY!r} of one to it"
        )
    return ModelError(
        f"model: the group {group} has no approved version; {found}. Approve one, or register one"
    )


def build_unknown_model_error(section: ModelSection, aws_message: str) -> ModelError:
    """The error for a model that SageMaker does not have; `aws_message` is its own message."""
    kind = next(kind for kind in ("name", "package", "group") if getattr(section, kind) is not None)
    name = getattr(section, kind)
    return ModelError(
        f"model.{kind}: found {name!r}, which SageMaker does not have in this account and region ({aws_message}); "
        "correct it, or look at region and aws_conn_id of the pipeline"
    )


def _strip_arn(name: str) -> str:
    """`group/7` of a version's ARN, or the name of anything else."""
    return name.rsplit(":", 1)[-1].split("/", 1)[-1]
