"""DeleteTags: unknown keys are ignored."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.tagging import require_resource


def delete_tags(call: Call) -> dict[str, Any]:
    """An empty response."""
    arn = call.request["ResourceArn"]
    require_resource(call, arn)
    call.services.store.tags.remove(arn, call.request["TagKeys"])
    return {}
