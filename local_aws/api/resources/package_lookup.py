"""Looks up model packages and their groups by name or ARN."""

from __future__ import annotations

import re
from dataclasses import dataclass

from local_aws.api.call import Call
from local_aws.api.rules import aws_messages
from local_aws.state.registry import Package, PackageGroup, build_version_key

GROUP_RESOURCE = "model-package-group"
PACKAGE_RESOURCE = "model-package"
# A name, a name and a version, or either as an ARN.
REFERENCE_PATTERN = re.compile(
    r"(?:(?P<head>arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}):(?P<resource>[a-z-]*)/)?"
    r"(?P<name>[^/]+)(?:/(?P<version>\d{1,9}))?"
)


@dataclass(frozen=True, slots=True)
class PackageReference:
    """Reference of a request to a group or a package: by `arn`, or by `name` and `version`."""

    name: str
    version: int | None
    arn: str
    is_arn: bool


def get_group(call: Call, name_or_arn: str) -> PackageGroup:
    """The group of this name or ARN; raises ValidationError when there is none."""
    reference, store = _parse_reference(call, name_or_arn, GROUP_RESOURCE), call.services.store
    found = (
        store.package_groups.select("region = ? AND arn = ?", (call.region, reference.arn))
        if reference.is_arn
        else store.package_groups.select(
            "region = ? AND name_key = ?", (call.region, call.build_name_key(reference.name))
        )
    )
    if not found or reference.version is not None:
        raise aws_messages.missing_package_group(reference.arn)
    return found[0]


def get_package(call: Call, name_or_arn: str) -> Package:
    """The package of this name or ARN; raises ValidationError when there is none."""
    reference, store = _parse_reference(call, name_or_arn, PACKAGE_RESOURCE), call.services.store
    key = call.build_name_key(reference.name)
    if reference.version is not None:
        key = build_version_key(key, reference.version)
    found = (
        store.packages.select("region = ? AND arn = ?", (call.region, reference.arn))
        if reference.is_arn
        else store.packages.select("region = ? AND name_key = ?", (call.region, key))
    )
    if not found:
        raise aws_messages.missing_package(reference.arn)
    return found[0]


def _parse_reference(call: Call, text: str, resource: str) -> PackageReference:
    match = REFERENCE_PATTERN.fullmatch(text)
    if match is None:
        return PackageReference(text, None, text, is_arn=True)
    version = None if match["version"] is None else int(match["version"])
    if match["head"] is not None:
        return PackageReference(match["name"], version, text, is_arn=True)
    tail = match["name"] if version is None else f"{match['name']}/{version}"
    return PackageReference(match["name"], version, call.build_arn(resource, tail), is_arn=False)
