"""What the scored records look like, column by column, in bounded memory, and mergeable over hosts.

Numbers are counted in buckets whose bounds grow by GAMMA, so that quantiles are right to one percent of their value
(the idea of DDSketch, Masson, Rim and Lee 2019).
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from include.jobs.errors import JobError
from include.jobs.input_config import Column

GAMMA = 1.02
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = 20
# Mean and deviation take what is further from zero for this: the square of a double may be none. All else is exact.
LARGEST = 1e140
TEXT_VALUES = 1_000  # different texts that are counted by name; all others together


class NumberProfile:
    """Counts, moments and buckets of one numeric column."""

    def __init__(self) -> None:
        self.count = self.nulls = self.zeros = 0
        self.mean = self.squares = 0.0  # squares: sum of squared distances from the mean
        self.least, self.most = math.inf, -math.inf
        self.buckets: dict[str, Counter[int]] = {"negative": Counter(), "positive": Counter()}

    def add(self, values: np.ndarray) -> None:
        """`values` float64, NaN for null."""
        present = values[~np.isnan(values)]
        self.nulls += len(values) - len(present)
        if not len(present):
            return
        bounded = np.clip(present, -LARGEST, LARGEST)
        mean = float(bounded.mean())
        self._combine(len(bounded), mean, float(((bounded - mean) ** 2).sum()))
        self.least = min(self.least, float(present.min()))
        self.most = max(self.most, float(present.max()))
        self.zeros += int((present == 0).sum())
        for sign, some in (("negative", -present[present < 0]), ("positive", present[present > 0])):
            if len(some):
                keys = np.ceil(np.log(some) / math.log(GAMMA)).astype(np.int64)
                first = int(keys.min())
                # Doubles span some 36,000 buckets of a sign, so counting in place beats sorting.
                counts = np.bincount(keys - first)
                found = np.flatnonzero(counts)
                self.buckets[sign].update(dict(zip((found + first).tolist(), counts[found].tolist())))

    def absorb(self, other: NumberProfile) -> None:
        """Add what another one has counted."""
        self.nulls += other.nulls
        if not other.count:
            return
        self._combine(other.count, other.mean, other.squares)
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        self.zeros += other.zeros
        for sign, buckets in self.buckets.items():
            buckets.update(other.buckets[sign])

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> NumberProfile:
        """What `to_dict` was called on."""
        made = cls()
        made.count, made.nulls = document["count"], document["nulls"]
        if made.count:
            made.mean, made.squares = document["mean"], document["std"] ** 2 * made.count
            made.least, made.most = document["min"], document["max"]
            sketch = document["sketch"]
            made.zeros = sketch["zeros"]
            for sign, buckets in made.buckets.items():
                buckets.update({int(key): count for key, count in sketch[sign]})
        return made

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": "number", "count": self.count, "nulls": self.nulls}
        if self.count:
            found.update(
                min=self.least,
                max=self.most,
                mean=self.mean,
                std=math.sqrt(self.squares / self.count),
                quantiles={str(share): self.quantile(share) for share in QUANTILES},
                histogram=self._histogram(),
                sketch={
                    "gamma": GAMMA,
                    "zeros": self.zeros,
                    **{sign: sorted(buckets.items()) for sign, buckets in self.buckets.items()},
                },
            )
        return found

    def quantile(self, share: float) -> float:
        """The value that this share of all values lies below, to one percent."""
        wanted = share * (self.count - 1)
        seen = 0
        for value, count in self._ordered():
            seen += count
            if seen > wanted:
                return min(max(value, self.least), self.most)
        return self.most

    def _ordered(self) -> Iterable[tuple[float, int]]:
        for key, count in sorted(self.buckets["negative"].items(), reverse=True):
            yield -_middle(key), count
        if self.zeros:
            yield 0.0, self.zeros
        for key, count in sorted(self.buckets["positive"].items()):
            yield _middle(key), count

    def _histogram(self) -> dict[str, list[float]]:
        if self.most == self.least:
            return {"edges": [self.least, self.most], "counts": [self.count]}
        at = np.linspace(0.0, 1.0, BINS + 1)
        # Not linspace from least to most, whose distance may be no double; rounding must not make an edge fall back.
        edges = np.maximum.accumulate(np.clip(self.least * (1 - at) + self.most * at, self.least, self.most))
        values, counts = zip(*self._ordered())
        inside = np.clip(np.array(values), self.least, self.most)
        found, _ = np.histogram(inside, bins=edges, weights=counts)
        return {"edges": edges.tolist(), "counts": [int(count) for count in found]}

    def _combine(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        distance = mean - self.mean
        self.squares += squares + distance**2 * self.count * count / total
        self.mean += distance * count / total
        self.count = total


class TextProfile:
    """Counts of one text column's values."""

    def __init__(self) -> None:
        self.count = self.nulls = self.others = 0
        self.values: Counter[str] = Counter()

    def add(self, cells: Sequence[str]) -> None:
        self._update(Counter(cells))

    def absorb(self, other: TextProfile) -> None:
        """Add what another one has counted."""
        self._update(Counter(other.values))
        self.nulls += other.nulls
        self.others += other.others
        self.count += other.others

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TextProfile:
        """What `to_dict` was called on."""
        made = cls()
        made.values = Counter(document["values"])
        made.count, made.nulls, made.others = document["count"], document["nulls"], document["others"]
        return made

    def to_dict(self) -> dict[str, Any]:
        values = dict(sorted(self.values.items(), key=lambda item: (-item[1], item[0])))
        return {
            "kind": "text",
            "count": self.count,
            "nulls": self.nulls,
            "values": values,
            "others": self.others,
        }

    def _update(self, counts: Counter[str]) -> None:
        self.nulls += counts.pop("", 0)
        self.count += sum(counts.values())
        for value, count in counts.items():
            if value in self.values or len(self.values) < TEXT_VALUES:
                self.values[value] += count
            else:
                self.others += count


class Profile:
    """The profile of all columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns: dict[str, NumberProfile | TextProfile] = {
            column.name: NumberProfile() if column.numeric else TextProfile() for column in columns
        }

    def add(self, cells: Mapping[str, Sequence[str]], numbers: Mapping[str, np.ndarray]) -> None:
        """Count one batch of records that passed."""
        for name, column in self._columns.items():
            if name not in cells:
                continue
            if isinstance(column, NumberProfile):
                column.add(numbers[name])
            else:
                column.add(cells[name])

    def to_dict(self) -> dict[str, Any]:
        return {name: column.to_dict() for name, column in self._columns.items()}


def profile_of(document: Mapping[str, Any]) -> NumberProfile | TextProfile:
    """The profile of one column whose `to_dict` gave the document."""
    return NumberProfile.of(document) if document["kind"] == "number" else TextProfile.of(document)


def absorb(into: NumberProfile | TextProfile, other: NumberProfile | TextProfile) -> None:
    """Add to one profile what another of the same column has counted; raises JobError when they differ in kind."""
    if isinstance(into, NumberProfile) and isinstance(other, NumberProfile):
        into.absorb(other)
        return
    if not (isinstance(into, TextProfile) and isinstance(other, TextProfile)):
        raise JobError(f"found a {type(into).__name__} and a {type(other).__name__} of one column")
    into.absorb(other)


def merge_profiles(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One profile of what several hosts saw; each document is what `Profile.to_dict` gave."""
    merged: dict[str, NumberProfile | TextProfile] = {}
    for document in documents:
        for name, column in document.items():
            found = profile_of(column)
            if name in merged:
                absorb(merged[name], found)
            else:
                merged[name] = found
    return {name: column.to_dict() for name, column in merged.items()}


def baseline_of(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The `baseline` of a later run's preprocess.json, from the profile of this one."""
    columns: dict[str, Any] = {}
    for name, column in profile.items():
        if not column["count"]:
            continue
        if column["kind"] == "text":
            if column["values"]:
                columns[name] = {"most_frequent": next(iter(column["values"]))}
            continue
        quantiles = column["quantiles"]
        columns[name] = {
            "mean": column["mean"],
            "std": column["std"],
            "median": quantiles["0.5"],
            "q1": quantiles["0.25"],
            "q3": quantiles["0.75"],
        }
    return {"columns": columns}


def _middle(key: int) -> float:
    """The value of a bucket whose error is smallest, as a share of the value."""
    exponent = key * math.log(GAMMA) + math.log(2.0 / (GAMMA + 1.0))
    return math.exp(min(exponent, math.log(sys.float_info.max)))
