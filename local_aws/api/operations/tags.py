"""Adds, lists and removes tags; at most 50 on one resource."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.errors import ResourceLimitError, ValidationError
from local_aws.api.resources.tags import MAX_TAGS, get_tags, parse_tags, require_resource
from local_aws.state.rows import TooManyTagsError


def add_tags(call: Call) -> dict[str, Any]:
    """All of the resource's tags after the addition."""
    arn = call.request["ResourceArn"]
    require_resource(call, arn)
    try:
        call.services.store.tags.add(arn, parse_tags(call.request), MAX_TAGS)
    except TooManyTagsError as error:
        raise ResourceLimitError(str(error)) from error
    return {"Tags": get_tags(call, arn)}


def list_tags(call: Call) -> dict[str, Any]:
    """Tags sorted by key; MaxResults is at least 50, so there is never a second page."""
    arn = call.request["ResourceArn"]
    require_resource(call, arn)
    if "NextToken" in call.request:
        raise ValidationError("Invalid NextToken: ListTags never returned one")
    return {"Tags": get_tags(call, arn)}


def delete_tags(call: Call) -> dict[str, Any]:
    """An empty response."""
    arn = call.request["ResourceArn"]
    require_resource(call, arn)
    call.services.store.tags.remove(arn, call.request["TagKeys"])
    return {}
