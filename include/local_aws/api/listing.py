"""Filters, order and pages of the List operations, as SQL."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from include.local_aws.api.errors import ValidationError

DEFAULT_PAGE = 10
SORT_COLUMNS = {"Name": "name", "CreationTime": "created_at", "Status": "status"}
FILTERS: dict[str, str] = {
    "CreationTimeAfter": "created_at > ?",
    "CreationTimeBefore": "created_at < ?",
    "LastModifiedTimeAfter": "modified_at > ?",
    "LastModifiedTimeBefore": "modified_at < ?",
    "StatusEquals": "status = ?",
    "ModelApprovalStatus": "approval = ?",
    # LIKE would fold case and know wildcards.
    "NameContains": "instr(name, ?) > 0",
}


@dataclass(frozen=True, slots=True)
class Query:
    """A page to be read: condition, its values, and how it goes on."""

    where: str
    values: list[Any]
    tail: str
    sort_by: str
    size: int
    fingerprint: list[Any] = field(default_factory=list)

    def next_token(self, rows: list[Any]) -> str | None:
        """The token of the page after `rows`, when they are more than one page."""
        if len(rows) <= self.size:
            return None
        last = rows[self.size - 1]
        return write_token(self.fingerprint, getattr(last, SORT_COLUMNS[self.sort_by]), last.name_key)


def query(
    request: dict[str, Any], base: dict[str, Any], default_order: str, also: Sequence[str] = ()
) -> Query:
    """The page a List request asks for, among rows whose columns equal `base` and that fit the conditions `also`.

    Pages go on after the last row shown (not by offset), so rows created meanwhile neither repeat nor
    vanish. Raises ValidationError for a NextToken that this very query did not give.
    """
    conditions = [*(f"{column} = ?" for column in base), *also]
    values = list(base.values())
    for name, condition in FILTERS.items():
        if name in request:
            conditions.append(condition)
            values.append(request[name])
    sort_by = request.get("SortBy", "CreationTime")
    order = request.get("SortOrder", default_order)
    size = request.get("MaxResults", DEFAULT_PAGE)
    fingerprint = [sort_by, order, *base.values(), *also, *(request.get(name) for name in FILTERS)]
    column = SORT_COLUMNS[sort_by]
    direction, beyond = ("ASC", ">") if order == "Ascending" else ("DESC", "<")
    if "NextToken" in request:
        conditions.append(f"({column}, name_key) {beyond} (?, ?)")
        values += read_token(request["NextToken"], fingerprint)
    return Query(
        where=" AND ".join(conditions),
        values=values,
        # One row more than asked for tells whether there is a next page.
        tail=f"ORDER BY {column} {direction}, name_key {direction} LIMIT {size + 1}",
        sort_by=sort_by,
        size=size,
        fingerprint=fingerprint,
    )


def write_token(fingerprint: list[Any], value: str | float, key: str) -> str:
    """A token that goes on after the row with this sort value and key, for the same arguments alone."""
    return base64.urlsafe_b64encode(json.dumps([fingerprint, value, key]).encode()).decode()


def read_token(token: str, fingerprint: list[Any]) -> list[Any]:
    """Sort value and key of a token; raises ValidationError unless `write_token` made it for `fingerprint`."""
    foreign = ValidationError("Invalid NextToken: it is not one that this operation returned")
    try:
        asked, value, name_key = json.loads(base64.urlsafe_b64decode(token.encode()))
        json.dumps([value, name_key], ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise foreign from error
    if not isinstance(value, str | float) or not isinstance(name_key, str):
        raise foreign
    if asked != fingerprint:
        raise ValidationError(
            "Invalid NextToken: it belongs to a List call with other filters or another order; repeat the first "
            "call's arguments with it"
        )
    return [value, name_key]
