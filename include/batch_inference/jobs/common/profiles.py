"""Profiles columns in bounded memory: counts, moments, quantiles and frequent values, mergeable over hosts.

Numbers are counted in buckets whose bounds grow by GAMMA, so that quantiles are exact to one percent of their value
(as in DDSketch: Masson, Rim and Lee 2019).
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.cell_types import (
    LAST_DAY,
    MICROSECONDS_A_DAY,
    format_day,
    is_number_type,
    is_typed,
)
from batch_inference.jobs.common.errors import JobError

GAMMA = 1.02
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
HISTOGRAM_BINS = 20
# Mean and deviation clip values to this magnitude, since the square of a double may overflow. All else is exact.
MAX_MAGNITUDE = 1e140
MAX_TEXT_VALUES = 1_000  # distinct values that are counted one by one; all others are counted together


class NumberProfile:
    """Counts, moments and buckets of one numeric column."""

    def __init__(self) -> None:
        self.count = self.nulls = self.zeros = 0
        self.mean = self.squared_deviations = 0.0  # squares: sum of squared distances from the mean
        self.minimum, self.maximum = math.inf, -math.inf
        self.buckets: dict[str, Counter[int]] = {"negative": Counter(), "positive": Counter()}

    def add(self, values: np.ndarray) -> None:
        """Count values: float64, NaN for null."""
        present = values[~np.isnan(values)]
        self.nulls += len(values) - len(present)
        if not len(present):
            return
        bounded = np.clip(present, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        mean = float(bounded.mean())
        self._merge_moments(len(bounded), mean, float(((bounded - mean) ** 2).sum()))
        self.minimum = min(self.minimum, float(present.min()))
        self.maximum = max(self.maximum, float(present.max()))
        self.zeros += int((present == 0).sum())
        for sign, some in (("negative", -present[present < 0]), ("positive", present[present > 0])):
            if len(some):
                keys = np.ceil(np.log(some) / math.log(GAMMA)).astype(np.int64)
                first = int(keys.min())
                # Doubles span some 36,000 buckets of a sign, so counting in place beats sorting.
                counts = np.bincount(keys - first)
                found = np.flatnonzero(counts)
                self.buckets[sign].update(dict(zip((found + first).tolist(), counts[found].tolist())))

    def merge(self, other: NumberProfile) -> None:
        """Add what another one has counted."""
        self.nulls += other.nulls
        if not other.count:
            return
        self._merge_moments(other.count, other.mean, other.squared_deviations)
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.zeros += other.zeros
        for sign, buckets in self.buckets.items():
            buckets.update(other.buckets[sign])

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> NumberProfile:
        """What `to_dict` was called on."""
        profile = cls()
        profile.count, profile.nulls = document["count"], document["nulls"]
        if profile.count:
            profile.mean, profile.squared_deviations = document["mean"], document["std"] ** 2 * profile.count
            profile.minimum, profile.maximum = document["min"], document["max"]
            sketch = document["sketch"]
            profile.zeros = sketch["zeros"]
            for sign, buckets in profile.buckets.items():
                buckets.update({int(key): count for key, count in sketch[sign]})
        return profile

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": "number", "count": self.count, "nulls": self.nulls}
        if self.count:
            found.update(
                min=self.minimum,
                max=self.maximum,
                mean=self.mean,
                std=math.sqrt(self.squared_deviations / self.count),
                quantiles={str(share): self.quantile(share) for share in QUANTILES},
                histogram=self._histogram(),
                sketch={
                    "gamma": GAMMA,
                    "zeros": self.zeros,
                    **{sign: sorted(buckets.items()) for sign, buckets in self.buckets.items()},
                },
            )
        return found

    def quantile(self, fraction: float) -> float:
        """Estimate a quantile, exact to one percent of its value."""
        wanted = fraction * (self.count - 1)
        seen = 0
        for value, count in self._iter_buckets():
            seen += count
            if seen > wanted:
                return min(max(value, self.minimum), self.maximum)
        return self.maximum

    def _iter_buckets(self) -> Iterable[tuple[float, int]]:
        for key, count in sorted(self.buckets["negative"].items(), reverse=True):
            yield -_bucket_value(key), count
        if self.zeros:
            yield 0.0, self.zeros
        for key, count in sorted(self.buckets["positive"].items()):
            yield _bucket_value(key), count

    def _histogram(self) -> dict[str, list[float]]:
        if self.maximum == self.minimum:
            return {"edges": [self.minimum, self.maximum], "counts": [self.count]}
        at = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
        # Not linspace from minimum to maximum, whose difference may overflow; rounding must keep the edges ascending.
        spread = self.minimum * (1 - at) + self.maximum * at
        edges = np.maximum.accumulate(np.clip(spread, self.minimum, self.maximum))
        values, counts = zip(*self._iter_buckets())
        inside = np.clip(np.array(values), self.minimum, self.maximum)
        found, _ = np.histogram(inside, bins=edges, weights=counts)
        return {"edges": edges.tolist(), "counts": [int(count) for count in found]}

    def _merge_moments(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        distance = mean - self.mean
        self.squared_deviations += squares + distance**2 * self.count * count / total
        self.mean += distance * count / total
        self.count = total


@dataclass
class TextProfile:
    """Counts of the values of one column that is not of numbers; `others` are those that are not counted one by one."""

    count: int = 0
    nulls: int = 0
    others: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, cells: Sequence[str]) -> None:
        self._update(Counter(cells))

    def merge(self, other: TextProfile) -> None:
        """Add what another one has counted."""
        self._update(Counter(other.values))
        self.nulls += other.nulls
        self.others += other.others
        self.count += other.others

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TextProfile:
        """What `to_dict` was called on."""
        return cls(document["count"], document["nulls"], document["others"], Counter(document["values"]))

    def to_dict(self) -> dict[str, Any]:
        values = dict(sorted(self.values.items(), key=lambda item: (-item[1], item[0])))
        return {"kind": "text", **vars(self), "values": values}

    def _update(self, counts: Counter[str]) -> None:
        self.nulls += counts.pop("", 0)
        self.count += sum(counts.values())
        for value, count in counts.items():
            if value in self.values or len(self.values) < MAX_TEXT_VALUES:
                self.values[value] += count
            else:
                self.others += count


class Profile:
    """Profiles of columns by name."""

    def __init__(self, column_types: Mapping[str, str] | None = None) -> None:
        self._types = dict(column_types or {})
        self._columns: dict[str, NumberProfile | TextProfile] = {
            name: NumberProfile() if is_number_type(column_type) else TextProfile()
            for name, column_type in self._types.items()
        }

    def add(self, cells: Mapping[str, Sequence[str]], numbers: Mapping[str, np.ndarray]) -> None:
        """Count one batch of records: the text of each string column, float64 for the others.

        Booleans are counted as `true` and `false`, dates and timestamps by day, or as their cells where there are no
        `numbers`.
        """
        for name, column in self._columns.items():
            if name not in cells:
                continue
            if isinstance(column, NumberProfile):
                column.add(numbers[name])
            elif is_typed(self._types[name]) and name in numbers:
                column.add(label_values(numbers[name], self._types[name]))
            else:
                column.add(cells[name])

    def merge(self, other: Profile) -> None:
        """Add what another one has counted. Raises JobError if a column is of numbers in one and of strings in one."""
        for name, column in other._columns.items():
            own = self._columns.setdefault(name, column)
            merge: Any = own.merge
            if type(own) is not type(column):
                raise JobError(f"found a {type(own).__name__} and a {type(column).__name__} of one column")
            if own is not column:
                merge(column)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Profile:
        """What `to_dict` was called on."""
        profile = cls()
        profile._columns = {
            name: (NumberProfile if column["kind"] == "number" else TextProfile).from_dict(column)
            for name, column in document.items()
        }
        return profile

    def to_dict(self) -> dict[str, Any]:
        return {name: column.to_dict() for name, column in self._columns.items()}


def label_values(numbers: np.ndarray, column_type: str) -> list[str]:
    """Label booleans by value, and dates and timestamps by day; nulls by an empty text."""
    is_null = np.isnan(numbers)
    values = np.where(is_null, 0, numbers)
    if column_type.startswith("timestamp"):
        # The double of the last microsecond of the calendar is that of the day after it.
        values = np.minimum(values // MICROSECONDS_A_DAY, LAST_DAY)
    distinct, places = np.unique(values, return_inverse=True)
    labels = [
        ("true" if value else "false") if column_type == "boolean" else format_day(int(value))
        for value in distinct.tolist()
    ]
    return ["" if null else labels[at] for null, at in zip(is_null.tolist(), places.tolist())]


def merge_profiles(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the profiles of several hosts; each document is the result of `Profile.to_dict`."""
    merged = Profile()
    for document in documents:
        merged.merge(Profile.from_dict(document))
    return merged.to_dict()


def build_baseline(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Build the `baseline` section for later runs from the profile of a run."""
    columns: dict[str, Any] = {}
    for name, column in profile.items():
        if column["kind"] == "text":
            if column["values"]:
                columns[name] = {"most_frequent": next(iter(column["values"]))}
        elif column["count"]:
            quantiles = {"median": "0.5", "q1": "0.25", "q3": "0.75"}
            columns[name] = {
                **{key: column[key] for key in ("mean", "std")},
                **{key: column["quantiles"][share] for key, share in quantiles.items()},
            }
    return columns


def _bucket_value(key: int) -> float:
    """The value of a bucket with the smallest relative error."""
    exponent = key * math.log(GAMMA) + math.log(2.0 / (GAMMA + 1.0))
    return math.exp(min(exponent, math.log(sys.float_info.max)))
