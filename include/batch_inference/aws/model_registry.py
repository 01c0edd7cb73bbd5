"""Finds a pipeline's model or model package in SageMaker. Read-only; `planning.model_version` reads the responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.security import check_model_security
from batch_inference.config.sections.stages import ModelSection
from batch_inference.planning.clusters.instance_quotas import list_instance_types
from batch_inference.planning.model_version import (
    APPROVED,
    ModelPlan,
    build_no_version_error,
    build_unknown_model_error,
    check_package_instance_types,
    has_alias,
    plan_existing_model,
    plan_model_without_lookup,
    plan_packaged_model,
)
from sagemaker_jobs.aws import get_client

#: SageMaker's error codes for a name that does not exist; the second for some operations only.
NOT_FOUND_CODES = ("ValidationException", "ResourceNotFound")


def resolve_model(pipeline: Pipeline, params: RunParams) -> ModelPlan:
    """The model of this run, checked for the instance types that its transform may have.

    Raises:
        ModelError: SageMaker does not have it, it is not approved, or lacks the security settings of the pipeline;
            nothing was spent.
    """
    section = pipeline.model
    if section.containers:
        return plan_model_without_lookup(pipeline)
    hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
    client = get_client(hook)
    try:
        if section.name is not None:
            found = client.describe_model(ModelName=section.name)
            check_model_security(pipeline.security, found)
            return plan_existing_model(found)
        description = _describe_package(client, section)
    except ClientError as error:
        if error.response["Error"]["Code"] in NOT_FOUND_CODES:
            raise build_unknown_model_error(section, error.response["Error"]["Message"]) from error
        raise
    model = plan_packaged_model(description)
    check_package_instance_types(model, description, list_instance_types(pipeline, params, "transform"))
    return model


def _describe_package(client: Any, section: ModelSection) -> Mapping[str, Any]:
    """DescribeModelPackage's response for the pipeline's package or version."""

    def describe(arn: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = client.describe_model_package(ModelPackageName=arn)
        return answer

    if section.package is not None:
        return describe(section.package)
    wanted = {} if section.version is not None else {"ModelApprovalStatus": APPROVED}
    for summary in _list_versions(client, section, **wanted):
        if section.version not in (None, summary["ModelPackageVersion"]):
            continue
        found = describe(summary["ModelPackageArn"])
        if section.alias is None or has_alias(found, section.alias):
            return found
    raise build_no_version_error(section, _list_versions(client, section))


def _list_versions(client: Any, section: ModelSection, **wanted: str) -> Iterator[Mapping[str, Any]]:
    """Summaries of the group's versions, the newest first."""
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=section.group, SortBy="CreationTime", SortOrder="Descending", **wanted
    )
    for page in pages:
        yield from page["ModelPackageSummaryList"]
