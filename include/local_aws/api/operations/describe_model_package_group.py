"""DescribeModelPackageGroup."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.registry import group_named


def describe_model_package_group(call: Call) -> dict[str, Any]:
    """By name or ARN; a group is Completed as soon as it is made."""
    group = group_named(call, call.request["ModelPackageGroupName"])
    return {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "ModelPackageGroupDescription": group.request.get("ModelPackageGroupDescription"),
        "CreationTime": group.created_at,
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }
