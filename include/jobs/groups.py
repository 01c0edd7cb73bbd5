"""How many records of each group came in and how many of them were rejected, and by which rule."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any, Mapping, Sequence

from include.jobs.config import Group

MOST_GROUPS = 200
EMPTY, OTHER, UNREADABLE = "(empty)", "(other)", "(unreadable)"


class Groups:
    """Counts by group for each sensitive column."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._records: dict[str, Counter[str]] = {group.column: Counter() for group in groups}
        self._rejected: dict[str, dict[str, Counter[str]]] = {group.column: {} for group in groups}

    def add(
        self, cells: Mapping[str, Sequence[str]], numbers: Mapping[str, Any], failed: Mapping[int, str]
    ) -> None:
        """Count the rows of a table; `failed` has the rule by place in it."""
        for group in self._groups:
            if group.column in cells:
                labels = labels_of(group, cells[group.column], numbers.get(group.column))
            else:
                labels = [EMPTY] * (len(next(iter(cells.values()))) if cells else 0)
            self._count(group, Counter(labels), [(labels[at], rule) for at, rule in failed.items()])

    def add_unreadable(self, rules: Sequence[str]) -> None:
        """Count records whose group cannot be told, each rejected by the rule."""
        for group in self._groups:
            self._count(group, Counter({UNREADABLE: len(rules)}), [(UNREADABLE, rule) for rule in rules])

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

    def _count(self, group: Group, labels: Counter[str], rejected: Sequence[tuple[str, str]]) -> None:
        records = self._records[group.column]
        known = {label: label for label in labels}
        for label, count in labels.items():
            if label not in records and len(records) >= MOST_GROUPS:
                known[label] = OTHER
            records[known[label]] += count
        for label, rule in rejected:
            self._rejected[group.column].setdefault(known[label], Counter())[rule] += 1


def labels_of(group: Group, cells: Sequence[str], numbers: Any) -> list[str]:
    """The group of each row; `numbers` has the column as float64, NaN for null, where there are edges."""
    if not group.edges:
        return [cell or EMPTY for cell in cells]
    names = _bins(group.edges)
    return [
        EMPTY if value != value else names[bisect_right(group.edges, value)] for value in numbers.tolist()
    ]


def merge_groups(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several hosts in one; each document is what `Groups.to_dict` gave."""
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


def _bins(edges: Sequence[float]) -> list[str]:
    shown = [f"{edge:g}" for edge in edges]
    return [
        f"below {shown[0]}",
        *(f"{low} to {high}" for low, high in zip(shown, shown[1:])),
        f"{shown[-1]} and above",
    ]
