"""ListModels: newest first unless asked otherwise."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.listing import query


def list_models(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = query(call.request, {"region": call.region}, "Descending")
    models = call.services.store.models.select(page.where, page.values, page.tail)
    return {
        "Models": [
            {"ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created_at}
            for model in models[: page.size]
        ],
        "NextToken": page.next_token(models),
    }
