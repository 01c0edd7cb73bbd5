"""DescribeModelPackage."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.registry import package_named
from include.local_aws.state.registry import Package

# What belongs to the request alone, or is told from the package.
NOT_ECHOED = ("Tags", "ClientToken", "ModelPackageName", "ModelPackageGroupName", "ModelApprovalStatus")


def describe_model_package(call: Call) -> dict[str, Any]:
    """The package as it stands; SageMaker's model wants a ModelPackageName, so a version has its group's."""
    package = package_named(call, call.request["ModelPackageName"])
    return {**describe_package(package), "ModelPackageName": package.name}


def describe_package(package: Package) -> dict[str, Any]:
    """The package as it stands, with ARN, status and times; a version has no name of its own."""
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
