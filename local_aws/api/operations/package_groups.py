"""Creates, describes, lists and deletes model package groups."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.resources.listing import list_page
from local_aws.api.resources.package_lookup import GROUP_RESOURCE, get_group
from local_aws.api.resources.tags import parse_tags
from local_aws.api.rules import aws_messages
from local_aws.state.registry import GroupInUseError, PackageGroup
from local_aws.state.rows import DuplicateError


def create_model_package_group(call: Call) -> dict[str, Any]:
    """An empty group; the name must be free."""
    group = PackageGroup(**call.build_columns(GROUP_RESOURCE, call.request["ModelPackageGroupName"]))
    try:
        call.services.store.package_groups.create(group, parse_tags(call.request))
    except DuplicateError as error:
        raise aws_messages.duplicate_package_group(error.arn) from error
    return {"ModelPackageGroupArn": group.arn}


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


def list_model_package_groups(call: Call) -> dict[str, Any]:
    """One page of summaries; no other account shares a group with this one."""
    elsewhere = call.request.get("CrossAccountFilterOption") == "CrossAccount"
    return list_page(
        call,
        call.services.store.package_groups,
        describe_group,
        extra_conditions=["0"] if elsewhere else [],
    )


def delete_model_package_group(call: Call) -> None:
    """Refused while the group has versions."""
    group = get_group(call, call.request["ModelPackageGroupName"])
    try:
        deleted = call.services.store.package_groups.delete(group.region, group.name_key)
    except GroupInUseError as error:
        raise aws_messages.package_group_in_use(group.arn, error.package_count) from error
    if not deleted:
        raise aws_messages.missing_package_group(group.arn)
