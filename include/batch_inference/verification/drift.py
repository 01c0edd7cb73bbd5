"""Measures the drift of predictions between two runs: PSI over all of them, and a statistical test on samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

# The index sums over this many bins of equal size in the reference, as is customary.
PSI_BINS = 10
# A bin that is empty on one side would make the index infinite; it counts as one row in 10,000.
MIN_SHARE = 1e-4
# Expected counts below this make the chi-squared test unreliable (Cochran 1954); such values are merged.
MIN_EXPECTED_COUNT = 5


def compute_population_stability_index(reference: Mapping[str, Any], current: Mapping[str, Any]) -> float:
    """The population stability index (PSI) of two profiles of one column; 0 when they are equal.

    Numbers are divided into ten bins of about equal size in the reference, along the bounds of the profiles' buckets,
    which are the same in every run; texts are compared value by value.
    """
    before, after = _count_values(reference), _count_values(current)
    if reference["kind"] == "number":
        before, after = _bin_counts(before, after)
    total_before, total_after = sum(before.values()), sum(after.values())
    index = 0.0
    for key in before.keys() | after.keys():
        expected = max(before.get(key, 0) / total_before, MIN_SHARE)
        found = max(after.get(key, 0) / total_after, MIN_SHARE)
        index += (found - expected) * math.log(found / expected)
    return index


def compute_p_value(kind: str, reference: Sequence[Any], current: Sequence[Any]) -> float:
    """The p-value of two samples: Kolmogorov-Smirnov for numbers, chi-squared for texts. Nulls are left out."""
    # The import takes a second, so it is done only where a gate needs it.
    from scipy import stats

    reference, current = ([value for value in each if value is not None] for each in (reference, current))
    if kind == "number":
        return float(stats.ks_2samp(reference, current, method="asymp").pvalue)
    table = _build_contingency_table(Counter(reference), Counter(current))
    return 1.0 if len(table) < 2 else float(stats.chi2_contingency(table).pvalue)


def _count_values(profile: Mapping[str, Any]) -> dict[Any, int]:
    """How often each bucket, or text, occurs; a bucket's key sorts as its numbers do."""
    if profile["kind"] == "text":
        counts: dict[Any, int] = dict(profile["values"])
        if profile["others"]:
            counts[None] = profile["others"]
        return counts
    sketch = profile["sketch"]
    found: dict[Any, int] = {(-1, -int(key)): count for key, count in sketch["negative"]}
    if sketch["zeros"]:
        found[0, 0] = sketch["zeros"]
    found.update({(1, int(key)): count for key, count in sketch["positive"]})
    return found


def _bin_counts(before: Mapping[Any, int], after: Mapping[Any, int]) -> tuple[Counter[int], Counter[int]]:
    """Both counts by bin of the reference."""
    wanted = sum(before.values()) / PSI_BINS
    classes: dict[Any, int] = {}
    seen, number = 0, 0
    for key in sorted(before.keys() | after.keys()):
        # A bin ends with the bucket that fills it; the range between two buckets belongs to the later bin.
        if seen >= wanted * (number + 1) and number < PSI_BINS - 1:
            number = min(PSI_BINS - 1, int(seen / wanted))
        classes[key] = number
        seen += before.get(key, 0)
    sums: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for into, counts in zip(sums, (before, after), strict=True):
        for key, count in counts.items():
            into[classes[key]] += count
    return sums


def _build_contingency_table(before: Mapping[Any, int], after: Mapping[Any, int]) -> list[list[int]]:
    """A row for each value with both counts; values that are too rare for the test share one row."""
    smaller = min(sum(before.values()), sum(after.values()))
    whole = sum(before.values()) + sum(after.values())
    rows: list[list[int]] = []
    rare = [0, 0]
    for value in sorted(before.keys() | after.keys(), key=str):
        counts = [before.get(value, 0), after.get(value, 0)]
        if sum(counts) * smaller / whole < MIN_EXPECTED_COUNT:
            rare = [rare[0] + counts[0], rare[1] + counts[1]]
        else:
            rows.append(counts)
    return [*rows, rare] if any(rare) else rows
