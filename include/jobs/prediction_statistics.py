"""What a join's predictions look like, in constant memory and mergeable: of blocks, of parts, of a whole run.

Counted are the model's answers, before a function of the user's own sees them:
- by column a profile (profiles.py): counts, nulls, range, mean, and buckets that quantiles and drift are read from;
- a sample of rows for tests of statistics. A row is in it by a hash of its shard and its number, so the same run gives
  the same sample, in however many parts it was joined;
- for each sensitive column and group: rows, predictions and their sum, and how many were selected.
"""

from __future__ import annotations

import hashlib
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from include.jobs.answers import Taken
from include.jobs.groups import MOST_GROUPS, OTHER, labels_of
from include.jobs.join_spec import JoinSpec
from include.jobs.numeric import parse_column
from include.jobs.profiles import NumberProfile, TextProfile, absorb, profile_of
from include.jobs.records import Records

VERSION = 1
# Enough to tell distributions apart that differ by 5 % somewhere (Kolmogorov-Smirnov, one in a hundred by chance).
SAMPLE_ROWS = 2_048


class Statistics:
    """Counts and a sample of rows."""

    def __init__(self, spec: JoinSpec) -> None:
        self._spec = spec
        self._counted = [column for column in spec.columns_of_answers if column.type != "json"]
        self.rows = 0
        self.columns: dict[str, NumberProfile | TextProfile] = {
            column.name: TextProfile() if column.type == "string" else NumberProfile()
            for column in self._counted
        }
        self.sample = Sample()
        self.groups: dict[str, dict[str, GroupCount]] = {group.column: {} for group in spec.groups}

    def of(self, records: Records, taken: Taken) -> Statistics:
        """The statistics of one block; may be called on any thread."""
        block = Statistics(self._spec)
        block.rows = records.count
        answers = {
            column.name: values
            for column, values in zip(self._spec.columns_of_answers, taken.values())
            if column.name in block.columns
        }
        for name, profile in block.columns.items():
            profile.add(answers[name])
        block.sample = Sample.of(records.shard, records.first, records.count, answers, self.sample.bound)
        if self._spec.groups:
            block.groups = self._grouped(records, answers)
        return block

    def add(self, block: Statistics) -> None:
        """Add the statistics of a block; called in the order of the records."""
        self.rows += block.rows
        for name, profile in self.columns.items():
            absorb(profile, block.columns[name])
        self.sample.add(block.sample)
        for column, counts in block.groups.items():
            _add_groups(self.groups[column], counts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; `merge_statistics` takes several of these."""
        return {
            "version": VERSION,
            "rows": self.rows,
            "columns": {name: profile.to_dict() for name, profile in self.columns.items()},
            "sample": self.sample.to_dict(),
            "groups": {
                column: {label: counts[label].to_dict() for label in sorted(counts)}
                for column, counts in self.groups.items()
            },
        }

    def _grouped(self, records: Records, answers: Mapping[str, Any]) -> dict[str, dict[str, GroupCount]]:
        cells = records.texts([group.column for group in self._spec.groups])
        selected = self._selected(answers)
        found: dict[str, dict[str, GroupCount]] = {}
        for group in self._spec.groups:
            texts = [cell or "" for cell in cells[group.column]]
            labels = labels_of(group, texts, parse_column(texts, "float")[0] if group.edges else None)
            codes: dict[str, int] = {}
            places = np.fromiter(
                (codes.setdefault(label, len(codes)) for label in labels), dtype=np.int64, count=records.count
            )
            found[group.column] = _counts(list(codes), places, answers, selected)
        return found

    def _selected(self, answers: Mapping[str, Any]) -> np.ndarray | None:
        chosen = self._spec.selected
        if chosen is None:
            return None
        values = answers[chosen.column]
        if chosen.values:
            wanted = set(chosen.values)
            return np.fromiter((value in wanted for value in values), dtype=bool, count=len(values))
        above = values >= chosen.at_least if chosen.at_least is not None else ~np.isnan(values)
        found: np.ndarray = above & (values <= chosen.at_most) if chosen.at_most is not None else above
        return found


class GroupCount:
    """Rows of one group, the sum of each numeric prediction, and how many rows were selected (None: not asked)."""

    def __init__(self, rows: int, selected: int | None, predictions: Mapping[str, tuple[int, float]]) -> None:
        self.rows = rows
        self.selected = selected
        self.predictions = dict(predictions)

    def add(self, other: GroupCount) -> None:
        """Add what another one has counted."""
        self.rows += other.rows
        if self.selected is not None and other.selected is not None:
            self.selected += other.selected
        for name, (count, total) in other.predictions.items():
            before = self.predictions.get(name, (0, 0.0))
            self.predictions[name] = (before[0] + count, before[1] + total)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "rows": self.rows,
            "selected": self.selected,
            "predictions": {
                name: {"count": count, "sum": total} for name, (count, total) in self.predictions.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> GroupCount:
        """What `to_dict` gave."""
        predictions = {name: (each["count"], each["sum"]) for name, each in document["predictions"].items()}
        return cls(document["rows"], document["selected"], predictions)


class Sample:
    """The rows with the smallest hashes, by hash; each column's values beside them, None for null."""

    def __init__(self) -> None:
        self.hashes: np.ndarray = np.empty(0, dtype=np.uint64)
        self.columns: dict[str, list[Any]] = {}

    @property
    def bound(self) -> int | None:
        """Rows with a hash above this are in no sample any more; None while all are."""
        return int(self.hashes[-1]) if len(self.hashes) >= SAMPLE_ROWS else None

    @classmethod
    def of(cls, shard: str, first: int, count: int, columns: Mapping[str, Any], bound: int | None) -> Sample:
        """The sample of a block whose first record is the shard's number `first`."""
        made = cls()
        hashes = _hashes(shard, first, count)
        at = np.arange(count) if bound is None else np.flatnonzero(hashes < np.uint64(bound))
        at = at[np.argsort(hashes[at], kind="stable")][:SAMPLE_ROWS]
        made.hashes = hashes[at]
        made.columns = {name: _picked(values, at) for name, values in columns.items()}
        return made

    def add(self, other: Sample) -> None:
        """Keep the smallest of both."""
        if not len(other.hashes):
            return
        hashes = np.concatenate((self.hashes, other.hashes))
        at = np.argsort(hashes, kind="stable")[:SAMPLE_ROWS].tolist()
        self.hashes = hashes[at]
        for name, values in other.columns.items():
            both = [*self.columns.get(name, []), *values]
            self.columns[name] = [both[place] for place in at]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"hashes": self.hashes.tolist(), "columns": self.columns}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Sample:
        """What `to_dict` gave."""
        made = cls()
        made.hashes = np.array(document["hashes"], dtype=np.uint64)
        made.columns = {name: list(values) for name, values in document["columns"].items()}
        return made


def merge_statistics(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One of several, such as those of a run's parts; each is what `Statistics.to_dict` gave.

    Raises:
        JobError: they are not of the same columns.
    """
    rows = 0
    columns: dict[str, NumberProfile | TextProfile] = {}
    sample = Sample()
    groups: dict[str, dict[str, GroupCount]] = {}
    for document in documents:
        rows += document["rows"]
        for name, profile in document["columns"].items():
            if name in columns:
                absorb(columns[name], profile_of(profile))
            else:
                columns[name] = profile_of(profile)
        sample.add(Sample.from_dict(document["sample"]))
        for column, counts in document["groups"].items():
            into = groups.setdefault(column, {})
            _add_groups(into, {label: GroupCount.from_dict(each) for label, each in counts.items()})
    return {
        "version": VERSION,
        "rows": rows,
        "columns": {name: profile.to_dict() for name, profile in columns.items()},
        "sample": sample.to_dict(),
        "groups": {
            column: {label: counts[label].to_dict() for label in sorted(counts)}
            for column, counts in groups.items()
        },
    }


def _add_groups(into: dict[str, GroupCount], counts: Mapping[str, GroupCount]) -> None:
    for label, count in counts.items():
        name = label if label in into or len(into) < MOST_GROUPS else OTHER
        if name in into:
            into[name].add(count)
        else:
            into[name] = count


def _counts(
    labels: Sequence[str], places: np.ndarray, answers: Mapping[str, Any], selected: np.ndarray | None
) -> dict[str, GroupCount]:
    """The counts of each label; `places` has the place of each row's label."""
    size = len(labels)
    rows = np.bincount(places, minlength=size).tolist()
    chosen = None if selected is None else np.bincount(places[selected], minlength=size).tolist()
    sums: list[dict[str, tuple[int, float]]] = [{} for _ in labels]
    for name, values in answers.items():
        if isinstance(values, np.ndarray):
            known = ~np.isnan(values)
            counted = np.bincount(places[known], minlength=size).tolist()
            totals = np.bincount(places[known], weights=values[known], minlength=size).tolist()
            for at, (count, total) in enumerate(zip(counted, totals)):
                sums[at][name] = (count, total)
    return {
        label: GroupCount(rows[at], None if chosen is None else chosen[at], sums[at])
        for at, label in enumerate(labels)
    }


def _picked(values: Any, at: np.ndarray) -> list[Any]:
    if isinstance(values, np.ndarray):
        return [None if value != value else value for value in values[at].tolist()]
    return [values[place] or None for place in at.tolist()]


def _hashes(shard: str, first: int, count: int) -> np.ndarray:
    """A well mixed number for each record of a shard: splitmix64 (Steele, Lea and Flood 2014) of name and number."""
    seed = int.from_bytes(hashlib.sha256(shard.encode("utf-8")).digest()[:8], "big")
    with np.errstate(over="ignore"):
        mixed = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(seed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
