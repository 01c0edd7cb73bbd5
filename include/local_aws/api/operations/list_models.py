"""ListModels: newest first by default."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.listing import build_query


def list_models(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = build_query(call.request, {"region": call.region}, "Descending")
    models = call.services.store.models.select(page.where, page.values, page.order_and_limit)
    return {
        "Models": [
            {"ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created_at}
            for model in models[: page.page_size]
        ],
        "NextToken": page.build_next_token(models),
    }
