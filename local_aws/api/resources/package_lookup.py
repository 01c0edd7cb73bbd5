"""Looks up model packages and their groups by name or ARN."""

from __future__ import annotations

from local_aws.api.call import Call
from local_aws.api.rules import aws_messages
from local_aws.state.registry import Package, PackageGroup, build_version_key
from local_aws.state.rows import Row, Table

GROUP_RESOURCE = "model-package-group"
PACKAGE_RESOURCE = "model-package"


def get_group(call: Call, name_or_arn: str) -> PackageGroup:
    """The group of this name or ARN; raises ValidationError when there is none."""
    group, arn = _find(call, call.services.store.package_groups, GROUP_RESOURCE, name_or_arn)
    if group is None:
        raise aws_messages.missing_package_group(arn)
    return group


def get_package(call: Call, name_or_arn: str) -> Package:
    """The package of this name or ARN, or the version of this NAME/VERSION; raises ValidationError for none."""
    package, arn = _find(call, call.services.store.packages, PACKAGE_RESOURCE, name_or_arn)
    if package is None:
        raise aws_messages.missing_package(arn)
    return package


def _find(call: Call, table: Table[Row], resource: str, text: str) -> tuple[Row | None, str]:
    """The row that `text` refers to, if there is one, and its ARN."""
    if ":" in text:
        rows = table.select("region = ? AND arn = ?", (call.region, text))
        return (rows[0] if rows else None), text
    name, slash, version = text.partition("/")
    key = call.build_name_key(name)
    if slash:
        key, name = build_version_key(key, int(version)), f"{name}/{int(version)}"
    return table.get(call.region, key), call.build_arn(resource, name)
