"""The names that the registry's operations take, and what they look up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.state.registry import Package, PackageGroup, version_key

GROUP = "model-package-group"
PACKAGE = "model-package"
# A name, a name and a version, or either as an ARN.
REFERENCE = re.compile(
    r"(?:(?P<head>arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}):(?P<resource>[a-z-]*)/)?"
    r"(?P<name>[^/]+)(?:/(?P<version>\d{1,9}))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a request calls a group or a package: by `arn`, or by `name` and `version`."""

    name: str
    version: int | None
    arn: str
    by_arn: bool


def group_named(call: Call, text: str) -> PackageGroup:
    """The group of this name or ARN; raises ValidationError when there is none."""
    asked, store = _reference(call, text, GROUP), call.services.store.registry
    found = (
        store.select_groups("region = ? AND arn = ?", (call.region, asked.arn))
        if asked.by_arn
        else store.select_groups("region = ? AND name_key = ?", (call.region, call.name_key(asked.name)))
    )
    if not found or asked.version is not None:
        raise catalogue.missing_package_group(asked.arn)
    return found[0]


def package_named(call: Call, text: str) -> Package:
    """The package of this name or ARN; raises ValidationError when there is none."""
    asked, store = _reference(call, text, PACKAGE), call.services.store.registry
    key = call.name_key(asked.name)
    if asked.version is not None:
        key = version_key(key, asked.version)
    found = (
        store.select("region = ? AND arn = ?", (call.region, asked.arn))
        if asked.by_arn
        else store.select("region = ? AND name_key = ?", (call.region, key))
    )
    if not found:
        raise catalogue.missing_package(asked.arn)
    return found[0]


def _reference(call: Call, text: str, resource: str) -> Reference:
    match = REFERENCE.fullmatch(text)
    if match is None:
        return Reference(text, None, text, by_arn=True)
    version = None if match["version"] is None else int(match["version"])
    if match["head"] is not None:
        return Reference(match["name"], version, text, by_arn=True)
    tail = match["name"] if version is None else f"{match['name']}/{version}"
    return Reference(match["name"], version, call.arn(resource, tail), by_arn=False)
