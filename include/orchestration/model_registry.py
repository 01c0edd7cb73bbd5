"""Asking SageMaker which model a pipeline means. It reads only; what the answers mean is decided in `scoring.model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

from include.scoring.config import Pipeline
from include.scoring.model import (
    APPROVED,
    ModelPlan,
    check_instance_type,
    existing_model,
    has_alias,
    no_version,
    packaged_model,
    stated_model,
    unknown_model,
)
from include.scoring.params import RunParams
from include.scoring.quotas import instance_types
from include.scoring.sections import ModelSection
from include.scoring.security import check_model
from sagemaker_jobs.aws import client_of

#: What SageMaker answers when there is nothing of a name; the second for some operations only.
ABSENT = ("ValidationException", "ResourceNotFound")


def resolve_model(pipeline: Pipeline, params: RunParams) -> ModelPlan:
    """The model that this run uses, on the instance types that its transform may have.

    Raises:
        ModelError: SageMaker does not know it, it may not score, or is not shut in as the pipeline asks; nothing was
            spent.
    """
    section = pipeline.model
    if section.containers:
        return stated_model(pipeline)
    hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
    client = client_of(hook)
    try:
        if section.name is not None:
            found = client.describe_model(ModelName=section.name)
            check_model(pipeline.security, found)
            return existing_model(found)
        description = _package(client, section)
    except ClientError as error:
        if error.response["Error"]["Code"] in ABSENT:
            raise unknown_model(section, error.response["Error"]["Message"]) from error
        raise
    model = packaged_model(description)
    check_instance_type(model, description, instance_types(pipeline, params, "transform"))
    return model


def _package(client: Any, section: ModelSection) -> Mapping[str, Any]:
    """DescribeModelPackage's answer for the package or version that the pipeline means."""

    def described(arn: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = client.describe_model_package(ModelPackageName=arn)
        return answer

    if section.package is not None:
        return described(section.package)
    wanted = {} if section.version is not None else {"ModelApprovalStatus": APPROVED}
    for summary in _versions(client, section, **wanted):
        if section.version not in (None, summary["ModelPackageVersion"]):
            continue
        found = described(summary["ModelPackageArn"])
        if section.alias is None or has_alias(found, section.alias):
            return found
    raise no_version(section, _versions(client, section))


def _versions(client: Any, section: ModelSection, **wanted: str) -> Iterator[Mapping[str, Any]]:
    """Summaries of the group's versions, the newest first."""
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=section.group, SortBy="CreationTime", SortOrder="Descending", **wanted
    )
    for page in pages:
        yield from page["ModelPackageSummaryList"]
