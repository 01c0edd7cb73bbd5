"""BatchDescribeModelPackage: summaries of packages by ARN, and an error for each that has none."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.errors import AwsError, ValidationError
from include.local_aws.api.model import get_members, load_service_model
from include.local_aws.api.operations.describe_model_package import describe_package
from include.local_aws.api.registry import get_package
from include.local_aws.state.registry import Package

SUMMARY_SHAPE = "BatchDescribeModelPackageSummary"


def batch_describe_model_package(call: Call) -> dict[str, Any]:
    """By ARN as requested; a package that is missing, or lacks what a summary requires, does not affect the others."""
    summaries: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for arn in call.request["ModelPackageArnList"]:
        try:
            summaries[arn] = _summary(get_package(call, arn))
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors or None}


def _summary(package: Package) -> dict[str, Any]:
    shape = load_service_model().shape_for(SUMMARY_SHAPE)
    answer = describe_package(package)
    missing = [name for name in shape.required_members if answer.get(name) is None]
    if missing:
        raise ValidationError(f"ModelPackage {package.arn} has no {missing[0]}, which a summary requires")
    return {name: answer.get(name) for name in get_members(shape)}
