"""A rejected record with its reason, as a line of a rejects file, and counts of rejects with examples.

Examples are shown on pages and in reports, so they hold nothing of a sensitive column.
"""

from __future__ import annotations

import json
from typing import Any, Collection, Iterable, Mapping, NamedTuple, Sequence

#: Examples of one group; groups of one host; characters of an excerpt in an example.
MAX_EXAMPLES, MAX_GROUPS, MAX_EXCERPT = 5, 200, 300
#: In place of a column, of rejects that are counted after MAX_GROUPS groups.
OTHER_COLUMNS = "(other columns)"

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class Reject(NamedTuple):
    """Why a record is rejected: the first rule that it fails.

    Attributes:
        rule: the name of the rule.
        found: the excerpt of the cell that fails; without a column, what is wrong with the record, as a sentence.
        allowed: what the rule allows; empty if `found` says it.
        column: the column of the cell; empty if the record as a whole fails.
        reason: the whole reason; empty if it is "<column> is <found>, allowed is <allowed>".
        is_response: `found` is the model's response, which may repeat any value of the record.
    """

    rule: str
    found: str
    allowed: str = ""
    column: str = ""
    reason: str = ""
    is_response: bool = False

    def format_reason(self) -> str:
        """The reason as a sentence."""
        if self.reason:
            return self.reason
        start = f"{self.column} is {self.found}" if self.column else self.found
        return f"{start}, allowed is {self.allowed}" if self.allowed else start


class RejectSummary:
    """Counts of rejects by rule and column, each with its first examples.

    Memory and size are bounded: further columns are counted as OTHER_COLUMNS, without examples.
    """

    def __init__(self, columns: Collection[str] = (), sensitive_columns: Collection[str] = ()) -> None:
        """`columns`: those of the input. With sensitive ones, an example has the values of the others only.

        Then it has no text of the record, no response of the model, and no value of a feature that a function made.
        """
        self.withheld_columns = list(sensitive_columns)
        self._shown_columns = set(columns) - set(sensitive_columns)
        self._groups: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, source_uri: str, line: int, record: int, reject: Reject, text: str) -> None:
        """Count a reject; `line` and `record` are its numbers within the object, from 1."""
        key = (reject.rule, reject.column)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_GROUPS and reject.column:
                key = (reject.rule, OTHER_COLUMNS)
            group = self._groups.setdefault(key, _build_group(*key))
        group["records"] += 1
        if len(group["examples"]) < MAX_EXAMPLES and key[1] != OTHER_COLUMNS:
            is_open = not self.withheld_columns
            is_ours = not reject.column and not reject.is_response
            is_shown = is_open or is_ours or reject.column in self._shown_columns
            example = {
                "source": source_uri,
                "line": line,
                "record": record,
                "found": cut_text(escape_bytes(reject.found)) if is_shown else None,
                "allowed": cut_text(escape_bytes(reject.allowed)),
                "text": cut_text(escape_bytes(text[: MAX_EXCERPT + 1])) if is_open else None,
            }
            group["examples"].append(example)

    def count_by_rule(self) -> dict[str, int]:
        """The number of rejects of each rule."""
        counts: dict[str, int] = {}
        for group in self._groups.values():
            counts[group["rule"]] = counts.get(group["rule"], 0) + group["records"]
        return counts

    def list_groups(self) -> list[dict[str, Any]]:
        """The groups: `rule`, `column`, the number of `records`, and `examples`."""
        return list(self._groups.values())

    def merge(self, other: RejectSummary) -> None:
        """Add the counts of the records that follow."""
        self.withheld_columns = self.withheld_columns or other.withheld_columns
        merged = merge_groups([self.list_groups(), other.list_groups()])
        self._groups = {(group["rule"], group["column"]): group for group in merged}


def merge_groups(lists: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Merge the groups of several parts of the records: counts are added, the first examples are kept."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for groups in lists:
        for group in groups:
            key = (group["rule"], group["column"])
            into = merged.setdefault(key, _build_group(*key))
            into["records"] += group["records"]
            into["examples"] += group["examples"][: MAX_EXAMPLES - len(into["examples"])]
    return list(merged.values())


def encode_reject(source_uri: str, line: int, record: int, reject: Reject, text: str) -> bytes:
    """Encode one reject as a line of a rejects file."""
    fields = {
        "source": source_uri,
        "line": line,
        "record": record,
        "rule": reject.rule,
        "column": reject.column,
        "reason": escape_bytes(reject.format_reason()),
        "text": escape_bytes(text),
    }
    return _ENCODE(fields).encode("utf-8") + b"\n"


def escape_bytes(text: str) -> str:
    """Escape bytes outside of the encoding (\\udcff), which JSON cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut_text(text: str) -> str:
    """The beginning of a text that is longer than MAX_EXCERPT."""
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}…"


def _build_group(rule: str, column: str) -> dict[str, Any]:
    return {"rule": rule, "column": column, "records": 0, "examples": []}
