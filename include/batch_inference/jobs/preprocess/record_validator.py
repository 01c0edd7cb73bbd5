"""Validates the records of a batch: which pass, why others are rejected, and the features of those that pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import ByteCells
from batch_inference.jobs.common.groups import GroupCounts
from batch_inference.jobs.common.json_reading import format_excerpt
from batch_inference.jobs.common.numeric import parse_byte_cells
from batch_inference.jobs.common.profiles import Profile
from batch_inference.jobs.config.preprocess_config import InputConfig, PreprocessConfig
from batch_inference.jobs.preprocess.features import FeatureBuilder
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.rejects import Reject
from batch_inference.jobs.preprocess.rules import Table, compile_rule
from batch_inference.jobs.preprocess.source import ColumnNames


@dataclass(frozen=True)
class ValidationResult:
    """The outcome for a batch.

    Attributes:
        passed: for each record of the batch, whether it passed.
        rejects: by index in the batch, in order: the first rule that a record failed, with the reason.
        features: the CSV lines sent to the model, one for each record that passed, in order.
        feature_ends: the end of each of these lines in `features`.
    """

    passed: np.ndarray
    rejects: dict[int, Reject]
    features: bytes
    feature_ends: np.ndarray


class RecordValidator:
    """Applies the implicit rules and the rules of the pipeline, in order; the first that fails is the reason."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        self._rules = [compile_rule(rule, config.input) for rule in config.rules]
        self.feature_builder = FeatureBuilder(config)
        self.profile = Profile({column.name: column.type for column in config.input.columns})
        self.group_counts = GroupCounts(
            config.sensitive_columns, {column.name: column.type for column in config.input.columns}
        )

    def validate(
        self, names: ColumnNames, batch: Batch, duplicate_flags: Mapping[str, np.ndarray], records_label: str
    ) -> ValidationResult:
        """Validate a batch and build the features of the records that pass.

        `duplicate_flags`: for each `duplicates` rule by name, which records of the batch are repeats. `records_label`
        names them in messages.
        """
        failures: dict[int, Reject] = dict(batch.malformed)
        failures.update(_find_arity_failures(names, batch, self._config.input))
        self.group_counts.add_unreadable([rule for rule, *_ in failures.values()])
        if names is None or len(failures) == len(batch):
            return _build_result(len(batch), failures, b"", np.empty(0, dtype=np.int64))
        readable = np.flatnonzero(build_mask(len(batch), failures))
        table, failed = build_table(self._config.input, names, batch, readable)
        table.duplicates = {name: flags[readable] for name, flags in duplicate_flags.items()}
        for check, explain in self._rules:
            for row in np.flatnonzero(check(table)).tolist():
                if row not in failed:
                    failed[row] = explain(table, row)
        passed = build_mask(table.row_count, failed)
        features, feature_ends, left_out = self.feature_builder.build_features(table, passed, records_label)
        if left_out:
            failed.update(left_out)
            passed = build_mask(table.row_count, failed)
        self.group_counts.add(
            table.cells, table.numbers, {row: reject.rule for row, reject in failed.items()}
        )
        kept = table.select(passed)
        self.profile.add(kept.cells, kept.numbers)
        failures.update((int(readable[row]), reject) for row, reject in failed.items())
        return _build_result(len(batch), failures, features, feature_ends)


def build_table(
    input_config: InputConfig, names: Sequence[str], batch: Batch, readable: np.ndarray
) -> tuple[Table, dict[int, Reject]]:
    """Build a table of the `readable` records, by index, which have a cell for each name.

    Also returns, by index in the table, the rows with a cell that is not of its column's type.
    """
    starts, ends = batch.select_cells(readable, len(names))
    cells = {
        name: ByteCells(batch.buffer, starts[:, at].copy(), ends[:, at].copy())
        for at, name in enumerate(names)
    }
    failed: dict[int, Reject] = {}
    numbers = {}
    for column in input_config.columns:
        if column.is_typed and column.name in cells:
            numbers[column.name], wrong = parse_byte_cells(cells[column.name], column.type)
            for row, allowed in wrong.items():
                found = format_excerpt(cells[column.name][row])
                failed.setdefault(row, Reject("type", found, allowed, column.name))
    return Table(cells, numbers, batch.is_plain[readable]), failed


def build_mask(length: int, failed: Mapping[int, object]) -> np.ndarray:
    """Build a mask that is false at the indexes that failed."""
    keep = np.ones(length, dtype=bool)
    keep[list(failed)] = False
    return keep


def _find_arity_failures(names: ColumnNames, batch: Batch, input_config: InputConfig) -> dict[int, Reject]:
    expected = -1 if names is None else len(names)
    if names is None:
        allowed = f"{input_config.required_count} to {len(input_config.columns)}"
        clause = f"allowed are {allowed}"
    else:
        allowed = f"{expected}, as the other records of the object have"
        clause = f"the records of this object have {expected}"
    failures = {}
    for index in np.flatnonzero(batch.field_counts != expected).tolist():
        if index not in batch.malformed:
            count = int(batch.field_counts[index])
            found = f"{count} field{'' if count == 1 else 's'}"
            failures[index] = Reject("arity", found, allowed, reason=f"{found}, {clause}")
    return failures


def _build_result(
    records: int, rejects: Mapping[int, Reject], features: bytes, feature_ends: np.ndarray
) -> ValidationResult:
    return ValidationResult(
        build_mask(records, rejects), dict(sorted(rejects.items())), features, feature_ends
    )
