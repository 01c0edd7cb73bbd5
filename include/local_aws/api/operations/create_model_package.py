"""CreateModelPackage: a version of a group, or a package that stands alone."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.package_rules import check_package_request
from include.local_aws.api.registry import PACKAGE, group_named
from include.local_aws.api.tagging import tags_of_request
from include.local_aws.state.registry import DuplicatePackageError, MissingGroupError, Package

PENDING = "PendingManualApproval"


def create_model_package(call: Call) -> dict[str, Any]:
    """A repeated ClientToken answers what the first call made."""
    request = call.request
    check_package_request(request)
    known = _made_before(call)
    if known is not None:
        return {"ModelPackageArn": known.arn}
    if "ModelPackageGroupName" in request:
        return {"ModelPackageArn": _version(call).arn}
    package = _package(call, request["ModelPackageName"], None)
    try:
        call.services.store.registry.create(package, tags_of_request(request))
    except DuplicatePackageError as error:
        raise catalogue.duplicate_package(error.arn) from error
    return {"ModelPackageArn": package.arn}


def _version(call: Call) -> Package:
    group = group_named(call, call.request["ModelPackageGroupName"])
    try:
        return call.services.store.registry.create_version(_package(call, group.name, group.name_key))
    except MissingGroupError as error:
        raise catalogue.missing_package_group(group.arn) from error


def _package(call: Call, name: str, group_key: str | None) -> Package:
    request = call.request
    return Package(
        region=call.region,
        name=name,
        name_key=group_key or call.name_key(name),
        arn=call.arn(PACKAGE, name),
        group_key=group_key,
        version=None,
        request=request,
        approval=request.get("ModelApprovalStatus", PENDING) if group_key else None,
        token=request.get("ClientToken"),
        created_at=call.now,
        modified_at=None,
    )


def _made_before(call: Call) -> Package | None:
    token = call.request.get("ClientToken")
    found = (
        call.services.store.registry.select("region = ? AND token = ?", (call.region, token)) if token else []
    )
    if found and any(
        found[0].request.get(name) != call.request.get(name)
        for name in ("ModelPackageName", "ModelPackageGroupName")
    ):
        raise catalogue.token_used(found[0].arn)
    return found[0] if found else None
