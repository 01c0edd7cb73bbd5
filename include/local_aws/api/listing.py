"""Translates filters, sort order and pages of the List operations into SQL."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from include.local_aws.api.errors import ValidationError

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


@dataclass(frozen=True, slots=True)
class Query:
    """The SQL of one page: condition, its values, order and limit."""

    where: str
    values: list[Any]
    order_and_limit: str
    sort_by: str
    page_size: int
    fingerprint: list[Any] = field(default_factory=list)

    def build_next_token(self, rows: list[Any]) -> str | None:
        """The NextToken after `rows`; None if they fit on this page."""
        if len(rows) <= self.page_size:
            return None
        last = rows[self.page_size - 1]
        return write_token(self.fingerprint, getattr(last, SORT_COLUMNS[self.sort_by]), last.name_key)


def build_query(
    request: dict[str, Any],
    equals: dict[str, Any],
    default_sort_order: str,
    extra_conditions: Sequence[str] = (),
) -> Query:
    """The page of a List request, among the rows whose columns equal `equals` and that meet `extra_conditions`.

    A page starts after the last row of the previous one (not at an offset), so rows created in between are neither
    repeated nor lost. Raises ValidationError for a NextToken of another query.
    """
    conditions = [*(f"{column} = ?" for column in equals), *extra_conditions]
    values = list(equals.values())
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
        *equals.values(),
        *extra_conditions,
        *(request.get(name) for name in FILTER_CONDITIONS),
    ]
    column = SORT_COLUMNS[sort_by]
    direction, comparison = ("ASC", ">") if order == "Ascending" else ("DESC", "<")
    if "NextToken" in request:
        conditions.append(f"({column}, name_key) {comparison} (?, ?)")
        values += read_token(request["NextToken"], fingerprint)
    return Query(
        where=" AND ".join(conditions),
        values=values,
        # One row more than MaxResults shows whether there is a next page.
        order_and_limit=f"ORDER BY {column} {direction}, name_key {direction} LIMIT {size + 1}",
        sort_by=sort_by,
        page_size=size,
        fingerprint=fingerprint,
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
