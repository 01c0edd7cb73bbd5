"""DescribeModelPackageGroup."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.registry import get_group
from include.local_aws.state.registry import PackageGroup


def describe_model_package_group(call: Call) -> dict[str, Any]:
    """By name or ARN."""
    return describe_group(get_group(call, call.request["ModelPackageGroupName"]))


def describe_group(group: PackageGroup) -> dict[str, Any]:
    """The group; it is Completed as soon as it is created."""
    return {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "ModelPackageGroupDescription": group.request.get("ModelPackageGroupDescription"),
        "CreationTime": group.created_at,
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }
