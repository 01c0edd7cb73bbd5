"""Counts records and rejects of each group of the sensitive columns, by rule."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any, Mapping, Sequence

from batch_inference.jobs.config.preprocess_config import SensitiveColumn

MAX_GROUPS = 200
EMPTY_GROUP, OTHER_GROUP, UNREADABLE_GROUP = "(empty)", "(other)", "(unreadable)"


class GroupCounts:
    """Counts of records and rejects by group, for each sensitive column."""

    def __init__(self, groups: Sequence[SensitiveColumn]) -> None:
        self._groups = groups
        self._records: dict[str, Counter[str]] = {group.column: Counter() for group in groups}
        self._rejected: dict[str, dict[str, Counter[str]]] = {group.column: {} for group in groups}

    def add(
        self, cells: Mapping[str, Sequence[str]], numbers: Mapping[str, Any], failed: Mapping[int, str]
    ) -> None:
        """Count the rows of a table; `failed` has the rule of each rejected row by index."""
        for group in self._groups:
            if group.column in cells:
                labels = label_rows(group, cells[group.column], numbers.get(group.column))
            else:
                labels = [EMPTY_GROUP] * (len(next(iter(cells.values()))) if cells else 0)
            self._count(group, Counter(labels), [(labels[at], rule) for at, rule in failed.items()])

    def add_unreadable(self, rules: Sequence[str]) -> None:
        """Count records whose group is unknown, each rejected by the rule at its index."""
        for group in self._groups:
            self._count(
                group, Counter({UNREADABLE_GROUP: len(rules)}), [(UNREADABLE_GROUP, rule) for rule in rules]
            )

    def to_dict(self) -> dict[str, Any]:
        """By column and group: `records`, `rejected` and `by_rule`."""
        return {
            column: {
                label: {
                    "records": count,
                    "rejected": sum(self._rejected[column].get(label, Counter()).values()),
                    "by_rule": dict(self._rejected[column].get(label, Counter())),
                }
                for label, count in sorted(records.items())
                if count
            }
            for column, records in self._records.items()
        }

    def _count(
        self, group: SensitiveColumn, labels: Counter[str], rejected: Sequence[tuple[str, str]]
    ) -> None:
        records = self._records[group.column]
        known = {label: label for label in labels}
        for label, count in labels.items():
            if label not in records and len(records) >= MAX_GROUPS:
                known[label] = OTHER_GROUP
            records[known[label]] += count
        for label, rule in rejected:
            self._rejected[group.column].setdefault(known[label], Counter())[rule] += 1


def label_rows(column: SensitiveColumn, cells: Sequence[str], numbers: Any) -> list[str]:
    """Label each row with its group; `numbers` has the column as float64, NaN for null, if it has edges."""
    if not column.edges:
        return [cell or EMPTY_GROUP for cell in cells]
    names = _format_bins(column.edges)
    return [
        EMPTY_GROUP if value != value else names[bisect_right(column.edges, value)]
        for value in numbers.tolist()
    ]


def merge_group_counts(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the counts of several hosts; each document is the result of `GroupCounts.to_dict`."""
    merged: dict[str, Any] = {}
    for document in documents:
        for column, groups in document.items():
            for label, counts in groups.items():
                into = merged.setdefault(column, {}).setdefault(
                    label, {"records": 0, "rejected": 0, "by_rule": {}}
                )
                into["records"] += counts["records"]
                into["rejected"] += counts["rejected"]
                for rule, count in counts["by_rule"].items():
                    into["by_rule"][rule] = into["by_rule"].get(rule, 0) + count
    return merged


def _format_bins(edges: Sequence[float]) -> list[str]:
    shown = [f"{edge:g}" for edge in edges]
    return [
        f"below {shown[0]}",
        *(f"{low} to {high}" for low, high in zip(shown, shown[1:])),
        f"{shown[-1]} and above",
    ]
