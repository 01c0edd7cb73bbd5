"""UpdateModelPackage: changes approval, metadata and other members of a version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.errors import ValidationError
from include.local_aws.api.package_rules import check_specifications, merge_update
from include.local_aws.api.registry import get_package


def update_model_package(call: Call) -> dict[str, Any]:
    """Members that are not in the request stay. Refused for a package without a group."""
    request = call.request
    package = get_package(call, request["ModelPackageArn"])
    if package.version is None:
        raise ValidationError(
            f"ModelPackage {package.arn} is not a version of a model package group; only versions can be updated"
        )
    check_specifications(request)
    changed = replace(
        package,
        request=merge_update(package.request, request),
        approval=request.get("ModelApprovalStatus", package.approval),
        modified_at=call.now,
    )
    call.services.store.registry.update(changed)
    return {"ModelPackageArn": package.arn}
