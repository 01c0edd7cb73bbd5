"""Creates, describes, lists and deletes models; runs nothing."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.resources.listing import list_page
from local_aws.api.resources.package_lookup import get_package
from local_aws.api.resources.tags import parse_tags
from local_aws.api.rules import aws_messages
from local_aws.api.rules.model_rules import check_containers, check_model_request
from local_aws.api.rules.package_rules import build_containers
from local_aws.api.rules.roles import require_role
from local_aws.state.registry import Model
from local_aws.state.rows import DuplicateError


def create_model(call: Call) -> dict[str, Any]:
    """The name must be free. A model package is replaced by its current containers."""
    check_model_request(call.request)
    request = _resolve_packages(call)
    if "ExecutionRoleArn" in request:
        require_role(call, request["ExecutionRoleArn"])
    model = Model(**{**call.build_columns("model", request["ModelName"]), "request": request})
    try:
        call.services.store.models.create(model, parse_tags(request))
    except DuplicateError as error:
        raise aws_messages.duplicate_model(error.arn) from error
    return {"ModelArn": model.arn}


def _resolve_packages(call: Call) -> dict[str, Any]:
    """The request with each model package replaced by its containers, which keep the package's name."""
    request = call.request
    primary = request.get("PrimaryContainer")
    definitions = [primary] if primary is not None else request["Containers"]
    found = [each for definition in definitions for each in _containers(call, definition)]
    check_containers(found)
    rest = {name: value for name, value in request.items() if name not in ("PrimaryContainer", "Containers")}
    if primary is not None and len(found) == 1:
        return {**rest, "PrimaryContainer": found[0]}
    return {**rest, "Containers": found}


def _containers(call: Call, definition: dict[str, Any]) -> list[dict[str, Any]]:
    if "ModelPackageName" not in definition:
        return [definition]
    package = get_package(call, definition["ModelPackageName"])
    if package.approval not in (None, "Approved"):
        raise aws_messages.package_not_approved(package.arn, package.approval)
    return build_containers(package.arn, package.request, definition)


def describe_model(call: Call) -> dict[str, Any]:
    """The request as it was sent, with ARN and time."""
    model = get_model(call)
    echoed = {name: value for name, value in model.request.items() if name != "Tags"}
    return {"EnableNetworkIsolation": False, **echoed, **_describe(model)}


def get_model(call: Call) -> Model:
    """The model that the request names; raises ValidationError when there is none."""
    name = call.request["ModelName"]
    model = call.services.store.models.get(call.region, call.build_name_key(name))
    if model is None:
        raise aws_messages.missing_model(call.build_arn("model", name))
    return model


def list_models(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    return list_page(call, call.services.store.models, _describe, default_sort_order="Descending")


def _describe(model: Model) -> dict[str, Any]:
    return {"ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created_at}


def delete_model(call: Call) -> None:
    """Refused for a model that does not exist."""
    model = get_model(call)
    if not call.services.store.models.delete(call.region, model.name_key):
        raise aws_messages.missing_model(model.arn)
