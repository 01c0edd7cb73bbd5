"""DescribeModel."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call


def describe_model(call: Call) -> dict[str, Any]:
    """The request as it was sent, with ARN and time."""
    name = call.request["ModelName"]
    model = call.services.store.models.get(call.region, call.build_name_key(name))
    if model is None:
        raise catalogue.missing_model(call.build_arn("model", name))
    echoed = {name: value for name, value in model.request.items() if name != "Tags"}
    return {
        "EnableNetworkIsolation": False,
        **echoed,
        "ModelArn": model.arn,
        "CreationTime": model.created_at,
    }
