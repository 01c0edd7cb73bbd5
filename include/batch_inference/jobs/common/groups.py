"""Counts records and rejects of each group of the sensitive columns, by rule."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any, Iterable, Mapping, Sequence

from batch_inference.jobs.config.preprocess_config import SensitiveColumn

MAX_GROUPS = 200
EMPTY_GROUP, OTHER_GROUP, UNREADABLE_GROUP = "(empty)", "(other)", "(unreadable)"


class GroupCounts:
    """Counts of records and rejects by group, for each sensitive column."""

    def __init__(self, sensitive_columns: Sequence[SensitiveColumn], column_types: Mapping[str, str]) -> None:
        self._sensitive_columns = sensitive_columns
        self._column_types = column_types
        self._counts: dict[str, dict[str, Any]] = {column.column: {} for column in sensitive_columns}

    def add(
        self, cells: Mapping[str, Sequence[str]], numbers: Mapping[str, Any], failed: Mapping[int, str]
    ) -> None:
        """Count the rows of a table; `failed` has the rule of each rejected row by index."""
        for column in self._sensitive_columns:
            if column.column in cells:
                column_type = self._column_types[column.column]
                labels = label_rows(column, column_type, cells[column.column], numbers.get(column.column))
            else:
                labels = [EMPTY_GROUP] * (len(next(iter(cells.values()))) if cells else 0)
            self._count(column, labels, failed)

    def add_unreadable(self, rules: Sequence[str]) -> None:
        """Count records whose group is unknown, each rejected by the rule at its index."""
        for column in self._sensitive_columns:
            self._count(column, [UNREADABLE_GROUP] * len(rules), dict(enumerate(rules)))

    def to_dict(self) -> dict[str, Any]:
        """By column and group: `records`, `rejected` and `by_rule`."""
        return {column: dict(sorted(groups.items())) for column, groups in self._counts.items()}

    def _count(self, column: SensitiveColumn, labels: Sequence[str], failed: Mapping[int, str]) -> None:
        groups = self._counts[column.column]
        rejected: dict[str, Counter[str]] = {}
        for at, rule in failed.items():
            rejected.setdefault(labels[at], Counter())[rule] += 1
        for label, count in Counter(labels).items():
            has_place = label == UNREADABLE_GROUP or label in groups or len(groups) < MAX_GROUPS
            name = label if has_place else OTHER_GROUP
            _add_counts(groups, name, count, rejected.get(label, {}))


def label_rows(column: SensitiveColumn, column_type: str, cells: Sequence[str], numbers: Any) -> list[str]:
    """Label each row with its group; `numbers` has the column as float64, NaN for null, if it is not of strings."""
    if column_type == "boolean":
        return [EMPTY_GROUP if value != value else "true" if value else "false" for value in numbers.tolist()]
    if not column.edges:
        return [cell or EMPTY_GROUP for cell in cells]
    names = _format_bins(column.edges)
    return [
        EMPTY_GROUP if value != value else names[bisect_right(column.edges, value)]
        for value in numbers.tolist()
    ]


def merge_group_counts(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the counts of several hosts; each document is the result of `GroupCounts.to_dict`."""
    merged: dict[str, Any] = {}
    for document in documents:
        for column, groups in document.items():
            merged.setdefault(column, {})
            for label, counts in groups.items():
                _add_counts(merged[column], label, counts["records"], counts["by_rule"])
    return merged


def _add_counts(groups: dict[str, Any], label: str, records: int, rejected: Mapping[str, int]) -> None:
    """Add records and rejects by rule to the counts of a group."""
    into = groups.setdefault(label, {"records": 0, "rejected": 0, "by_rule": {}})
    into["records"] += records
    into["rejected"] += sum(rejected.values())
    for rule, count in rejected.items():
        into["by_rule"][rule] = into["by_rule"].get(rule, 0) + count


def _format_bins(edges: Sequence[float]) -> list[str]:
    shown = [f"{edge:g}" for edge in edges]
    return [
        f"below {shown[0]}",
        *(f"{low} to {high}" for low, high in zip(shown, shown[1:])),
        f"{shown[-1]} and above",
    ]
