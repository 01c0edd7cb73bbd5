"""How far apart two runs' predictions are: an index over all of them, and a test of statistics on samples of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The index sums over this many classes of equal size in the reference, as is customary.
CLASSES = 10
# A class that one side does not have would make the index infinite; it counts as if it had one row in 10,000.
SMALLEST_SHARE = 1e-4
# Expected counts below this make the chi-squared test unreliable (Cochran 1954); such values are put together.
SMALLEST_EXPECTED = 5


def population_stability_index(reference: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """The index of two profiles of one column; 0 when they are alike.

    Numbers are put into ten classes of about equal size in the reference, along the bounds of the profiles' buckets,
    which are the same in every run; texts are compared value by value.
    """
    before, after = _counts(reference), _counts(now)
    if reference["kind"] == "number":
        before, after = _classes(before, after)
    total_before, total_after = sum(before.values()), sum(after.values())
    index = 0.0
    for key in before.keys() | after.keys():
        expected = max(before.get(key, 0) / total_before, SMALLEST_SHARE)
        found = max(after.get(key, 0) / total_after, SMALLEST_SHARE)
        index += (found - expected) * math.log(found / expected)
    return index


def p_value(kind: str, reference: Sequence[Any], now: Sequence[Any]) -> float:
    """The probability of samples that differ this much, or more, when nothing has changed."""
    # An import of a second, spent only where a gate asks for it.
    from scipy import stats

    if kind == "number":
        return float(stats.ks_2samp(reference, now, method="asymp").pvalue)
    table = _contingency(Counter(reference), Counter(now))
    return 1.0 if len(table) < 2 else float(stats.chi2_contingency(table).pvalue)


def _counts(profile: Mapping[str, Any]) -> dict[Any, int]:
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


def _classes(before: Mapping[Any, int], after: Mapping[Any, int]) -> tuple[Counter[int], Counter[int]]:
    """Both counts by class of the reference."""
    wanted = sum(before.values()) / CLASSES
    classes: dict[Any, int] = {}
    seen, number = 0, 0
    for key in sorted(before.keys() | after.keys()):
        # A class ends with the bucket that fills it; what lies between two buckets belongs to the later one.
        if seen >= wanted * (number + 1) and number < CLASSES - 1:
            number = min(CLASSES - 1, int(seen / wanted))
        classes[key] = number
        seen += before.get(key, 0)
    sums: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for into, counts in zip(sums, (before, after), strict=True):
        for key, count in counts.items():
            into[classes[key]] += count
    return sums


def _contingency(before: Mapping[Any, int], after: Mapping[Any, int]) -> list[list[int]]:
    """A row for each value with both counts; values too rare for the test are one row."""
    smaller = min(sum(before.values()), sum(after.values()))
    whole = sum(before.values()) + sum(after.values())
    rows: list[list[int]] = []
    rare = [0, 0]
    for value in sorted(before.keys() | after.keys(), key=str):
        counts = [before.get(value, 0), after.get(value, 0)]
        if sum(counts) * smaller / whole < SMALLEST_EXPECTED:
            rare = [rare[0] + counts[0], rare[1] + counts[1]]
        else:
            rows.append(counts)
    return [*rows, rare] if any(rare) else rows


def present(values: Iterable[Any]) -> list[Any]:
    """The values that are no nulls."""
    return [value for value in values if value is not None]
