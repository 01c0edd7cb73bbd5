"""Search: finds model packages and their groups by conditions on the members of Describe."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from local_aws.api.call import Call
from local_aws.api.errors import ValidationError
from local_aws.api.operations.package_groups import describe_group
from local_aws.api.operations.packages import describe_package
from local_aws.api.resources.listing import DEFAULT_MAX_RESULTS, read_token, write_token
from local_aws.api.resources.search import OPERATORS, build_condition, find_property
from local_aws.api.resources.tags import get_tags
from local_aws.api.shapes.service_models import load_service_model
from local_aws.state.rows import Row, Table

Resource = dict[str, Any]


def search(call: Call) -> dict[str, Any]:
    """One page of matching resources, the latest change first by default."""
    request, name = call.request, call.request["Resource"]
    if name not in READERS:
        raise ValidationError(
            f"Search: Resource {name} is not implemented by the embedded AWS; it finds {', '.join(READERS)}. "
            "ListTransformJobs, ListProcessingJobs and ListModels find the others"
        )
    shape = load_service_model().shape_for(name)
    expression = request.get("SearchExpression")
    condition = build_condition(expression, shape) if expression is not None else lambda _: True
    sort_value = _build_sort_key(request.get("SortBy"), name)
    is_local = request.get("CrossAccountFilterOption") != "CrossAccount"
    found = [
        (sort_value(each), each[f"{name}Arn"], each)
        for each in READERS[name](call)
        if is_local and condition(each)
    ]
    is_ascending = request.get("SortOrder") == "Ascending"
    found.sort(key=lambda each: each[:2], reverse=not is_ascending)
    hits = len(found)
    query = {key: value for key, value in request.items() if key not in ("NextToken", "MaxResults")}
    fingerprint = [json.dumps(query)]
    if "NextToken" in request:
        last = tuple(read_token(request["NextToken"], fingerprint))
        if found and type(last[0]) is not type(found[0][0]):
            raise ValidationError("Invalid NextToken: it is not one that this operation returned")
        found = [each for each in found if (each[:2] > last if is_ascending else each[:2] < last)]
    page = found[: request.get("MaxResults", DEFAULT_MAX_RESULTS)]
    return {
        "Results": [{name: each} for _, _, each in page],
        "NextToken": write_token(fingerprint, *page[-1][:2]) if len(page) < len(found) else None,
        "TotalHits": {"Value": hits, "Relation": "EqualTo"},
    }


def _build_sort_key(sort_by: str | None, name: str) -> Callable[[Resource], str | float]:
    """The sort key of resources; those without the property come before all others."""
    if sort_by is None:
        # A resource that was never modified sorts by its creation.
        return lambda resource: float(resource.get("LastModifiedTime") or resource["CreationTime"])
    sort_property = find_property(load_service_model().shape_for(name), sort_by)
    if sort_property.type_name not in OPERATORS:
        raise ValidationError(f"SortBy {sort_by} is of type {sort_property.type_name}, which has no order")
    if sort_property.type_name == "string":
        return lambda resource: next(iter(sort_property.read_values(resource)), "")
    return lambda resource: float(next(iter(sort_property.read_values(resource)), -math.inf))


def _list_resources(call: Call, table: Table[Row], describe: Callable[[Row], Resource]) -> Iterator[Resource]:
    for row in table.select("region = ?", (call.region,)):
        yield {**describe(row), "Tags": get_tags(call, row.arn)}


READERS: dict[str, Callable[[Call], Iterator[Resource]]] = {
    "ModelPackage": lambda call: _list_resources(call, call.services.store.packages, describe_package),
    "ModelPackageGroup": lambda call: _list_resources(
        call, call.services.store.package_groups, describe_group
    ),
}
