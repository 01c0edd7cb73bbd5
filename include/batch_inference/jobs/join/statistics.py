"""Counts the predictions of a join in constant memory; statistics of blocks, parts and runs can be merged.

Predictions are counted before the user's function:
- a profile of each column (profiles.py): counts, nulls, range, mean, and buckets for quantiles and drift;
- a sample of rows for statistical tests. A row is selected by a hash of its shard and number, so a run always gives
  the same sample, however it is divided into parts;
- for each sensitive column and group: rows, predictions and their sum, and how many were selected.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.cell_types import is_typed
from batch_inference.jobs.common.groups import MAX_GROUPS, OTHER_GROUP, label_rows
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.common.profiles import Profile
from batch_inference.jobs.config.join_spec import JoinSpec, Selection
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock

STATISTICS_VERSION = 1
# Enough to detect a difference of 5 % between distributions (Kolmogorov-Smirnov, at the 1 % level).
SAMPLE_ROWS = 2_048
# Of one group: `rows`, `selected` (rows that count as selected; None without a selection), and `predictions`: for each
# numeric column how many rows have a `count`, and their `sum`.
GroupPredictions = Dict[str, Any]


class PredictionStatistics:
    """Profiles, sample and group counts of the predictions of a join.

    Columns of type json have no profile.
    """

    def __init__(self, spec: JoinSpec | None = None) -> None:
        columns = spec.prediction_columns if spec else ()
        self._types = {column.name: column.type for column in columns if column.type != "json"}
        self.rows = 0
        self.profile = Profile(self._types)
        self.sample = RowSample()
        self.groups: dict[str, dict[str, GroupPredictions]] = {
            group.column: {} for group in (spec.sensitive_columns if spec else ())
        }

    def compute_block_statistics(
        self, records: RecordBlock, predictions: PredictionBatch
    ) -> PredictionStatistics:
        """Count one block; may be called on any thread."""
        spec = records.spec
        block = PredictionStatistics(spec)
        block.rows = records.record_count
        prediction_values = {
            column.name: values
            for column, values in zip(spec.prediction_columns, predictions.read_values())
            if column.name in self._types
        }
        numbers = {
            name: values for name, values in prediction_values.items() if isinstance(values, np.ndarray)
        }
        block.profile.add(prediction_values, numbers)
        block.sample = RowSample.from_block(records, prediction_values, self.sample.hash_bound)
        if spec.sensitive_columns:
            block.groups = _count_sensitive_groups(records, prediction_values)
        return block

    def merge(self, other: PredictionStatistics) -> None:
        """Merge other statistics; those of blocks in the order of the records."""
        self.rows += other.rows
        self.profile.merge(other.profile)
        self.sample.merge(other.sample)
        for column, counts in other.groups.items():
            into = self.groups.setdefault(column, {})
            for label, count in counts.items():
                name = label if label in into or len(into) < MAX_GROUPS else OTHER_GROUP
                into[name] = _add_counts(into[name], count) if name in into else count

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-serializable values."""
        return {
            "version": STATISTICS_VERSION,
            "rows": self.rows,
            "columns": self.profile.to_dict(),
            "sample": self.sample.to_dict(),
            "groups": {column: dict(sorted(counts.items())) for column, counts in self.groups.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PredictionStatistics:
        """What `to_dict` was called on."""
        statistics = cls()
        statistics.rows = document["rows"]
        statistics.profile = Profile.from_dict(document["columns"])
        statistics.sample = RowSample.from_dict(document["sample"])
        statistics.groups = {column: dict(counts) for column, counts in document["groups"].items()}
        return statistics


@dataclass
class RowSample:
    """The rows with the smallest hashes, in order of hash, and their values by column, None for null."""

    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    columns: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def hash_bound(self) -> int | None:
        """Hashes from here on are not sampled any more; None while the sample is not full."""
        return int(self.hashes[-1]) if len(self.hashes) >= SAMPLE_ROWS else None

    @classmethod
    def from_block(cls, records: RecordBlock, columns: Mapping[str, Any], bound: int | None) -> RowSample:
        """Sample the predictions of a block of records; hashes from `bound` on are left out."""
        hashes = _hash_rows(records.shard, records.first_record, records.record_count)
        at = np.arange(records.record_count) if bound is None else np.flatnonzero(hashes < np.uint64(bound))
        at = at[np.argsort(hashes[at], kind="stable")][:SAMPLE_ROWS]
        return cls(hashes[at], {name: _select_values(values, at) for name, values in columns.items()})

    def merge(self, other: RowSample) -> None:
        """Merge another sample; the smallest hashes stay."""
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
    def from_dict(cls, document: Mapping[str, Any]) -> RowSample:
        """What `to_dict` gave."""
        return cls(np.array(document["hashes"], dtype=np.uint64), dict(document["columns"]))


def merge_statistics(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the statistics of several parts; each is the result of `PredictionStatistics.to_dict`.

    Raises:
        JobError: a column is numeric in one and a string in another.
    """
    merged = PredictionStatistics()
    for document in documents:
        merged.merge(PredictionStatistics.from_dict(document))
    return merged.to_dict()


def _count_sensitive_groups(
    records: RecordBlock, prediction_values: Mapping[str, Any]
) -> dict[str, dict[str, GroupPredictions]]:
    sensitive_columns = records.spec.sensitive_columns
    cells = records.read_columns([group.column for group in sensitive_columns])
    types = {column.name: column.type for column in records.spec.columns}
    selected = _find_selected_rows(records.spec.selection, prediction_values)
    found: dict[str, dict[str, GroupPredictions]] = {}
    for group in sensitive_columns:
        texts = [cell or "" for cell in cells[group.column]]
        column_type = types[group.column]
        numbers = parse_column(texts, column_type).numbers if is_typed(column_type) else None
        labels = label_rows(group, column_type, texts, numbers)
        codes: dict[str, int] = {}
        places = np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.int64)
        found[group.column] = _count_groups(list(codes), places, prediction_values, selected)
    return found


def _find_selected_rows(
    selection: Selection | None, prediction_values: Mapping[str, Any]
) -> np.ndarray | None:
    if selection is None:
        return None
    values = prediction_values[selection.column]
    if selection.values:
        wanted = set(selection.values)
        return np.fromiter((value in wanted for value in values), dtype=bool, count=len(values))
    above = values >= selection.min if selection.min is not None else ~np.isnan(values)
    found: np.ndarray = above & (values <= selection.max) if selection.max is not None else above
    return found


def _count_groups(
    labels: Sequence[str],
    places: np.ndarray,
    prediction_values: Mapping[str, Any],
    selected: np.ndarray | None,
) -> dict[str, GroupPredictions]:
    """Count the rows of each label; `places` has the index of each row's label."""
    size = len(labels)
    rows = np.bincount(places, minlength=size).tolist()
    chosen = None if selected is None else np.bincount(places[selected], minlength=size).tolist()
    sums: list[dict[str, dict[str, float]]] = [{} for _ in labels]
    for name, values in prediction_values.items():
        if isinstance(values, np.ndarray):
            known = ~np.isnan(values)
            counted = np.bincount(places[known], minlength=size).tolist()
            totals = np.bincount(places[known], weights=values[known], minlength=size).tolist()
            for at, (count, total) in enumerate(zip(counted, totals)):
                sums[at][name] = {"count": count, "sum": total}
    return {
        label: {"rows": rows[at], "selected": chosen and chosen[at], "predictions": sums[at]}
        for at, label in enumerate(labels)
    }


def _add_counts(first: GroupPredictions, second: GroupPredictions) -> GroupPredictions:
    """Add what two blocks or parts have counted of one group."""
    predictions = dict(first["predictions"])
    for name, added in second["predictions"].items():
        before = predictions.get(name, {"count": 0, "sum": 0.0})
        predictions[name] = {key: before[key] + added[key] for key in before}
    selected = first["selected"]
    if None not in (selected, second["selected"]):
        selected += second["selected"]
    return {"rows": first["rows"] + second["rows"], "selected": selected, "predictions": predictions}


def _select_values(values: Any, at: np.ndarray) -> list[Any]:
    if isinstance(values, np.ndarray):
        return [None if value != value else value for value in values[at].tolist()]
    return [values[place] or None for place in at.tolist()]


def _hash_rows(shard: str, first: int, count: int) -> np.ndarray:
    """Hash shard name and number of each record: splitmix64 (Steele, Lea and Flood 2014)."""
    seed = int.from_bytes(hashlib.sha256(shard.encode("utf-8")).digest()[:8], "big")
    with np.errstate(over="ignore"):
        mixed = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(seed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
