"""CreateModel: records containers and role; runs nothing."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.model_rules import check_model_request
from include.local_aws.api.roles import require_role
from include.local_aws.api.tagging import tags_of_request
from include.local_aws.state.models import DuplicateModelError, Model


def create_model(call: Call) -> dict[str, Any]:
    """PrimaryContainer or Containers; the name must be free."""
    request = call.request
    check_model_request(request)
    if "ExecutionRoleArn" in request:
        require_role(call, request["ExecutionRoleArn"])
    name = request["ModelName"]
    model = Model(
        region=call.region,
        name=name,
        name_key=call.name_key(name),
        arn=call.arn("model", name),
        request=request,
        created_at=call.now,
    )
    try:
        call.services.store.models.create(model, tags_of_request(request))
    except DuplicateModelError as error:
        raise catalogue.duplicate_model(error.arn) from error
    return {"ModelArn": model.arn}
