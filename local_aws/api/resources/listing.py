"""Lists resources by page: filters and sort order in SQL, summaries by the shapes of SageMaker's model."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from botocore.model import ListShape, Shape, StructureShape

from local_aws.api.call import Call
from local_aws.api.errors import ValidationError
from local_aws.api.shapes.service_models import get_members, load_operation_model
from local_aws.state.rows import Row, Table

DEFAULT_MAX_RESULTS = 10
SORT_COLUMNS = {"Name": "name", "CreationTime": "created_at", "Status": "status"}
FILTER_CONDITIONS: dict[str, str] = {
    "CreationTimeAfter": "created_at > ?",
    "CreationTimeBefore": "created_at < ?",
    "LastModifiedTimeAfter": "modified_at > ?",
    "LastModifiedTimeBefore": "modified_at < ?",
    "StatusEquals": "status = ?",
    "ModelApprovalStatus": "approval = ?",
    # LIKE would ignore case and interpret wildcards.
    "NameContains": "instr(name, ?) > 0",
}


def list_page(
    call: Call,
    table: Table[Row],
    describe: Callable[[Row], dict[str, Any]],
    *,
    default_sort_order: str = "Ascending",
    equals: Mapping[str, Any] | None = None,
    extra_conditions: Sequence[str] = (),
) -> dict[str, Any]:
    """One page of a List operation: of each row, the members of `describe` that the operation's summary has.

    The rows are those of the region whose columns equal `equals` and that meet `extra_conditions`. A page starts after
    the last row of the previous one (not at an offset), so rows created in between are neither repeated nor lost.
    Raises ValidationError for a NextToken of another query.
    """
    request, columns = call.request, {"region": call.region, **(equals or {})}
    conditions = [*(f"{column} = ?" for column in columns), *extra_conditions]
    values = list(columns.values())
    for name, condition in FILTER_CONDITIONS.items():
        if name in request:
            conditions.append(condition)
            values.append(request[name])
    sort_by = request.get("SortBy", "CreationTime")
    order = request.get("SortOrder", default_sort_order)
    size = request.get("MaxResults", DEFAULT_MAX_RESULTS)
    fingerprint = [
        sort_by,
        order,
        *columns.values(),
        *extra_conditions,
        *(request.get(name) for name in FILTER_CONDITIONS),
    ]
    column = SORT_COLUMNS[sort_by]
    direction, comparison = ("ASC", ">") if order == "Ascending" else ("DESC", "<")
    if "NextToken" in request:
        conditions.append(f"({column}, name_key) {comparison} (?, ?)")
        values += read_token(request["NextToken"], fingerprint)
    # One row more than MaxResults shows whether there is a next page.
    order_and_limit = f"ORDER BY {column} {direction}, name_key {direction} LIMIT {size + 1}"
    rows = table.select(" AND ".join(conditions), values, order_and_limit)
    token = None
    if len(rows) > size:
        last = rows[size - 1]
        token = write_token(fingerprint, getattr(last, column), last.name_key)
    member, summary = _get_summary_shape(call.operation)
    return {member: [pick_members(describe(row), summary) for row in rows[:size]], "NextToken": token}


def pick_members(description: dict[str, Any], summary: Shape) -> dict[str, Any]:
    """The members of a resource's description that the shape of its summary has; None for a missing one."""
    return {name: description.get(name) for name in get_members(summary)}


def _get_summary_shape(operation: str) -> tuple[str, Shape]:
    """The list member of a List operation's response, and the shape of its elements."""
    response = cast(StructureShape, load_operation_model(operation).output_shape)
    return next(
        (name, shape.member) for name, shape in response.members.items() if isinstance(shape, ListShape)
    )


def write_token(fingerprint: list[Any], sort_value: str | float, name_key: str) -> str:
    """A NextToken that continues after the row with this sort value and key, valid for the same arguments only."""
    return base64.urlsafe_b64encode(json.dumps([fingerprint, sort_value, name_key]).encode()).decode()


def read_token(token: str, fingerprint: list[Any]) -> list[Any]:
    """Sort value and key of a token; raises ValidationError unless `write_token` made it for `fingerprint`."""
    invalid = ValidationError("Invalid NextToken: it is not one that this operation returned")
    try:
        token_fingerprint, value, name_key = json.loads(base64.urlsafe_b64decode(token.encode()))
        json.dumps([value, name_key], ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid from error
    if not isinstance(value, str | float) or not isinstance(name_key, str):
        raise invalid
    if token_fingerprint != fingerprint:
        raise ValidationError(
            "Invalid NextToken: it belongs to a List call with other filters or another order; repeat the first "
            "call's arguments with it"
        )
    return [value, name_key]
