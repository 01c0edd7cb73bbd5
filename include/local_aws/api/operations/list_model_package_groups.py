"""ListModelPackageGroups: oldest first by default."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.listing import build_query


def list_model_package_groups(call: Call) -> dict[str, Any]:
    """One page of summaries; no other account shares a group with this one."""
    elsewhere = call.request.get("CrossAccountFilterOption") == "CrossAccount"
    page = build_query(call.request, {"region": call.region}, "Ascending", ["0"] if elsewhere else [])
    groups = call.services.store.registry.select_groups(page.where, page.values, page.order_and_limit)
    return {
        "ModelPackageGroupSummaryList": [
            {
                "ModelPackageGroupName": group.name,
                "ModelPackageGroupArn": group.arn,
                "ModelPackageGroupDescription": group.request.get("ModelPackageGroupDescription"),
                "CreationTime": group.created_at,
                "ModelPackageGroupStatus": "Completed",
            }
            for group in groups[: page.page_size]
        ],
        "NextToken": page.build_next_token(groups),
    }
