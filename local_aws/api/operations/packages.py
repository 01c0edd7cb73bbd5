"""Creates, describes, lists, updates and deletes model packages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from local_aws.api.call import Call
from local_aws.api.errors import AwsError, ValidationError
from local_aws.api.resources.listing import list_page, pick_members
from local_aws.api.resources.package_lookup import PACKAGE_RESOURCE, get_group, get_package
from local_aws.api.resources.tags import parse_tags
from local_aws.api.rules import aws_messages
from local_aws.api.rules.package_rules import check_package_request, check_specifications, merge_update
from local_aws.api.shapes.service_models import load_service_model
from local_aws.state.registry import MissingGroupError, Package
from local_aws.state.rows import DuplicateError

PENDING_STATUS = "PendingManualApproval"
# Members that belong to the request alone, or come from the package.
NOT_ECHOED = ("Tags", "ClientToken", "ModelPackageName", "ModelPackageGroupName", "ModelApprovalStatus")
SUMMARY_SHAPE = "BatchDescribeModelPackageSummary"
TYPE_CONDITIONS = {"Unversioned": ["version IS NULL"], "Versioned": ["version IS NOT NULL"], "Both": []}


def create_model_package(call: Call) -> dict[str, Any]:
    """A repeated ClientToken returns the package of the first call."""
    request = call.request
    check_package_request(request)
    known = _find_by_client_token(call)
    if known is not None:
        return {"ModelPackageArn": known.arn}
    if "ModelPackageGroupName" in request:
        return {"ModelPackageArn": _create_version(call).arn}
    package = _build_package(call, request["ModelPackageName"], None)
    try:
        call.services.store.packages.create(package, parse_tags(request))
    except DuplicateError as error:
        raise aws_messages.duplicate_package(error.arn) from error
    return {"ModelPackageArn": package.arn}


def _create_version(call: Call) -> Package:
    group = get_group(call, call.request["ModelPackageGroupName"])
    try:
        return call.services.store.packages.create_version(_build_package(call, group.name, group.name_key))
    except MissingGroupError as error:
        raise aws_messages.missing_package_group(group.arn) from error


def _build_package(call: Call, name: str, group_key: str | None) -> Package:
    request = call.request
    return Package(
        **{**call.build_columns(PACKAGE_RESOURCE, name), "name_key": group_key or call.build_name_key(name)},
        group_key=group_key,
        version=None,
        approval=request.get("ModelApprovalStatus", PENDING_STATUS) if group_key else None,
        token=request.get("ClientToken"),
        modified_at=None,
    )


def _find_by_client_token(call: Call) -> Package | None:
    # Without a token nothing is found: a column that is NULL equals nothing.
    token = call.request.get("ClientToken")
    for package in call.services.store.packages.select("region = ? AND token = ?", (call.region, token)):
        names = ("ModelPackageName", "ModelPackageGroupName")
        if any(package.request.get(name) != call.request.get(name) for name in names):
            raise aws_messages.client_token_reused(package.arn)
        return package
    return None


def describe_model_package(call: Call) -> dict[str, Any]:
    """The package; SageMaker's model requires a ModelPackageName, so a version has its group's."""
    package = get_package(call, call.request["ModelPackageName"])
    return {**describe_package(package), "ModelPackageName": package.name}


def describe_package(package: Package) -> dict[str, Any]:
    """The package with ARN, status and times; a version has no ModelPackageName."""
    echoed = {name: value for name, value in package.request.items() if name not in NOT_ECHOED}
    return {
        **echoed,
        "ModelPackageName": package.name if package.version is None else None,
        "ModelPackageGroupName": None if package.version is None else package.name,
        "ModelPackageVersion": package.version,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created_at,
        "LastModifiedTime": package.modified_at,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "ModelApprovalStatus": package.approval,
    }


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
    summary = pick_members(describe_package(package), shape)
    missing = [name for name in shape.required_members if summary[name] is None]
    if missing:
        raise ValidationError(f"ModelPackage {package.arn} has no {missing[0]}, which a summary requires")
    return summary


def list_model_packages(call: Call) -> dict[str, Any]:
    """One page of summaries; a version has no ModelPackageName in it, as on AWS."""
    request = call.request
    equals: dict[str, Any] = {}
    package_type = "Unversioned"
    if "ModelPackageGroupName" in request:
        equals["group_key"] = get_group(call, request["ModelPackageGroupName"]).name_key
        package_type = "Versioned"
    return list_page(
        call,
        call.services.store.packages,
        describe_package,
        equals=equals,
        extra_conditions=TYPE_CONDITIONS[request.get("ModelPackageType", package_type)],
    )


def update_model_package(call: Call) -> dict[str, Any]:
    """Members that are not in the request stay. Refused for a package without a group."""
    request = call.request
    package = get_package(call, request["ModelPackageArn"])
    if package.version is None:
        raise ValidationError(
            f"ModelPackage {package.arn} is not a version of a model package group; only versions can be updated"
        )
    check_specifications(request)
    changed = replace(
        package,
        request=merge_update(package.request, request),
        approval=request.get("ModelApprovalStatus", package.approval),
        modified_at=call.now,
    )
    call.services.store.packages.update(changed)
    return {"ModelPackageArn": package.arn}


def delete_model_package(call: Call) -> None:
    """Its version number is not used again."""
    package = get_package(call, call.request["ModelPackageName"])
    if not call.services.store.packages.delete(package.region, package.name_key):
        raise aws_messages.missing_package(package.arn)
