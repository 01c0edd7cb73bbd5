"""Reports outcomes by group of the sensitive columns: rejects, predictions and selection, and how unequal they are.

`difference` is the largest figure of a group minus the smallest, `ratio` the smallest divided by the largest: 1 is
equal treatment, and below 0.8 is where the four-fifths rule of the US Uniform Guidelines (29 CFR 1607.4) looks closer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Unreadable records belong to no group; they are reported, but not compared.
UNREADABLE = "(unreadable)"


def build_group_report(
    group_counts: Mapping[str, Mapping[str, Any]],
    scored_group_counts: Mapping[str, Mapping[str, Any]],
    selection_rule: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """One entry for each sensitive column, JSON-safe; unknown values are None.

    `group_counts` are the counts of preprocessing by column and group, `scored_group_counts` those of the join,
    `selection_rule` says in the pipeline's words what was counted as selected.
    """
    return [
        _report_column(name, counts, scored_group_counts.get(name, {}), selection_rule)
        for name, counts in group_counts.items()
    ]


def _report_column(
    column: str,
    group_counts: Mapping[str, Any],
    scored: Mapping[str, Any],
    selected: Mapping[str, Any] | None,
) -> dict[str, Any]:
    labels = sorted({*group_counts, *scored})
    groups = [_report_group(label, group_counts.get(label), scored.get(label)) for label in labels]
    compared = [group for group in groups if group["group"] != UNREADABLE]
    predictions = sorted({name for group in groups for name in group["mean_prediction"]})
    return {
        "column": column,
        "groups": groups,
        "rejected_share": _measure_spread(group["rejected_share"] for group in compared),
        "mean_prediction": {
            name: _measure_spread(group["mean_prediction"].get(name) for group in compared)
            for name in predictions
        },
        "selected": None if selected is None else dict(selected),
        "selection_rate": _measure_spread(group["selection_rate"] for group in compared),
    }


def _report_group(
    label: str, group_counts: Mapping[str, Any] | None, scored: Mapping[str, Any] | None
) -> dict[str, Any]:
    group_counts = group_counts or {"records": 0, "rejected": 0, "by_rule": {}}
    scored = scored or {"rows": 0, "selected": None, "predictions": {}}
    records, rejected = group_counts["records"], group_counts["rejected"]
    rows, chosen = scored["rows"], scored["selected"]
    predictions = scored["predictions"].items()
    return {
        "group": label,
        "records": records,
        "rejected": rejected,
        "rejected_share": rejected / records if records else None,
        "rejected_by_rule": dict(group_counts["by_rule"]),
        "scored": rows,
        "mean_prediction": {name: each["sum"] / each["count"] for name, each in predictions if each["count"]},
        "selected": chosen,
        "selection_rate": chosen / rows if rows and chosen is not None else None,
    }


def _measure_spread(figures: Iterable[float | None]) -> dict[str, float | None]:
    """Difference and ratio of the figures; None where fewer than two are known, or a ratio is not defined."""
    known = [figure for figure in figures if figure is not None]
    if len(known) < 2:
        return {"difference": None, "ratio": None}
    least, most = min(known), max(known)
    ratio = least / most if least >= 0 and most > 0 else None
    return {"difference": most - least, "ratio": 1.0 if least == most else ratio}


def compute_rejected_share_ratios(groups: Mapping[str, Any], min_records: int) -> dict[str, float]:
    """By group, its rejected share as a multiple of that of all other groups together.

    Where theirs is 0 it is infinity, or 1 if the group has no reject either. Unreadable records do not count; a group
    is left out when it or all others together have fewer than `min_records` records.
    """
    readable_groups = {label: counts for label, counts in groups.items() if label != UNREADABLE}
    records = sum(counts["records"] for counts in readable_groups.values())
    rejected = sum(counts["rejected"] for counts in readable_groups.values())
    ratios: dict[str, float] = {}
    for label, counts in readable_groups.items():
        others = records - counts["records"]
        if counts["records"] < min_records or others < min_records:
            continue
        share = counts["rejected"] / counts["records"]
        of_others = (rejected - counts["rejected"]) / others
        ratios[label] = share / of_others if of_others else (float("inf") if share else 1.0)
    return ratios
