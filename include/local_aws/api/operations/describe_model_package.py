"""DescribeModelPackage."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.registry import get_package
from include.local_aws.state.registry import Package

# Members that belong to the request alone, or come from the package.
NOT_ECHOED = ("Tags", "ClientToken", "ModelPackageName", "ModelPackageGroupName", "ModelApprovalStatus")


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
