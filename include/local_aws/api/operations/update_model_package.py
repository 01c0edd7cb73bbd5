"""UpdateModelPackage: approval, metadata and what else may change of a version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.errors import ValidationError
from include.local_aws.api.package_rules import check_specifications, merged_request
from include.local_aws.api.registry import package_named


def update_model_package(call: Call) -> dict[str, Any]:
    """What is not in the request stays as it is. Refused for a package that stands alone."""
    request = call.request
    package = package_named(call, request["ModelPackageArn"])
    if package.version is None:
        raise ValidationError(
            f"ModelPackage {package.arn} is not a version of a model package group; only versions can be updated"
        )
    check_specifications(request)
    changed = replace(
        package,
        request=merged_request(package.request, request),
        approval=request.get("ModelApprovalStatus", package.approval),
        modified_at=call.now,
    )
    call.services.store.registry.update(changed)
    return {"ModelPackageArn": package.arn}
