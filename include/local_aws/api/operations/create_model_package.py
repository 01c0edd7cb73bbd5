"""CreateModelPackage: a version of a group, or a package without a group."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.package_rules import check_package_request
from include.local_aws.api.registry import PACKAGE_RESOURCE, get_group
from include.local_aws.api.tagging import parse_tags
from include.local_aws.state.registry import DuplicatePackageError, MissingGroupError, Package

PENDING_STATUS = "PendingManualApproval"


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
        call.services.store.registry.create(package, parse_tags(request))
    except DuplicatePackageError as error:
        raise catalogue.duplicate_package(error.arn) from error
    return {"ModelPackageArn": package.arn}


def _create_version(call: Call) -> Package:
    group = get_group(call, call.request["ModelPackageGroupName"])
    try:
        return call.services.store.registry.create_version(_build_package(call, group.name, group.name_key))
    except MissingGroupError as error:
        raise catalogue.missing_package_group(group.arn) from error


def _build_package(call: Call, name: str, group_key: str | None) -> Package:
    request = call.request
    return Package(
        region=call.region,
        name=name,
        name_key=group_key or call.build_name_key(name),
        arn=call.build_arn(PACKAGE_RESOURCE, name),
        group_key=group_key,
        version=None,
        request=request,
        approval=request.get("ModelApprovalStatus", PENDING_STATUS) if group_key else None,
        token=request.get("ClientToken"),
        created_at=call.now,
        modified_at=None,
    )


def _find_by_client_token(call: Call) -> Package | None:
    token = call.request.get("ClientToken")
    found = (
        call.services.store.registry.select("region = ? AND token = ?", (call.region, token)) if token else []
    )
    if found and any(
        found[0].request.get(name) != call.request.get(name)
        for name in ("ModelPackageName", "ModelPackageGroupName")
    ):
        raise catalogue.client_token_reused(found[0].arn)
    return found[0] if found else None
