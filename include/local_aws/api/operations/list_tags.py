"""ListTags: all of them on one page, since a resource has no more than 50."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.errors import ValidationError
from include.local_aws.api.tagging import require_resource


def list_tags(call: Call) -> dict[str, Any]:
    """Tags sorted by key; MaxResults is at least 50, so there is never a second page."""
    arn = call.request["ResourceArn"]
    require_resource(call, arn)
    if "NextToken" in call.request:
        raise ValidationError("Invalid NextToken: ListTags never returned one")
    tags = call.services.store.tags.get(arn)
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
