"""ListModelPackages: packages without a group, unless the request names a group or a type; oldest first."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.listing import build_query
from include.local_aws.api.registry import get_group

TYPE_CONDITIONS = {"Unversioned": ["version IS NULL"], "Versioned": ["version IS NOT NULL"], "Both": []}


def list_model_packages(call: Call) -> dict[str, Any]:
    """One page of summaries; a version has no ModelPackageName in it, as on AWS."""
    request, base = call.request, {"region": call.region}
    kind = "Unversioned"
    if "ModelPackageGroupName" in request:
        base["group_key"] = get_group(call, request["ModelPackageGroupName"]).name_key
        kind = "Versioned"
    page = build_query(request, base, "Ascending", TYPE_CONDITIONS[request.get("ModelPackageType", kind)])
    packages = call.services.store.registry.select(page.where, page.values, page.order_and_limit)
    return {
        "ModelPackageSummaryList": [
            {
                "ModelPackageName": package.name if package.version is None else None,
                "ModelPackageGroupName": None if package.version is None else package.name,
                "ModelPackageVersion": package.version,
                "ModelPackageArn": package.arn,
                "CreationTime": package.created_at,
                "ModelPackageStatus": "Completed",
                "ModelApprovalStatus": package.approval,
                **{
                    name: package.request.get(name)
                    for name in ("ModelPackageDescription", "ModelLifeCycle", "ModelPackageRegistrationType")
                },
            }
            for package in packages[: page.page_size]
        ],
        "NextToken": page.build_next_token(packages),
    }
