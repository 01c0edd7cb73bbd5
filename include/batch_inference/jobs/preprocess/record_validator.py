"""Validates the records of a batch: which pass, why others are rejected, and the features of those that pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.groups import GroupCounts
from batch_inference.jobs.common.json_reading import format_excerpt, is_encodable
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.common.profiles import Profile
from batch_inference.jobs.config.preprocess_config import InputConfig, PreprocessConfig
from batch_inference.jobs.preprocess.features import FeatureBuilder
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.rules import Table, compile_rule
from batch_inference.jobs.preprocess.source import ColumnNames


@dataclass(frozen=True)
class ValidationResult:
    """The outcome for a batch.

    Attributes:
        passed: for each record of the batch, whether it passed.
        rejects: by index in the batch, in order: the first rule that a record failed, and the reason.
        features: the cells sent to the model, one tuple for each record that passed, in order.
    """

    passed: np.ndarray
    rejects: dict[int, tuple[str, str]]
    features: list[tuple[str, ...]]


class RecordValidator:
    """Applies the implicit rules and the rules of the pipeline, in order; the first that fails is the reason."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        self._rules = [(rule.name, *compile_rule(rule, config.input)) for rule in config.rules]
        self.feature_builder = FeatureBuilder(config)
        self.profile = Profile({column.name: column.type for column in config.input.columns})
        self.group_counts = GroupCounts(config.sensitive_columns)

    def validate(
        self, names: ColumnNames, batch: Batch, duplicate_flags: Mapping[str, np.ndarray], uri: str
    ) -> ValidationResult:
        """Validate a batch and build the features of the records that pass.

        `duplicate_flags`: for each `duplicates` rule by name, which records of the batch are repeats. `uri` names the
        object in messages.
        """
        failures: dict[int, tuple[str, str]] = {**find_undecodable_records(batch), **batch.malformed}
        failures.update(_find_arity_failures(names, batch, self._config.input, failures))
        self.group_counts.add_unreadable([rule for rule, _ in failures.values()])
        if names is None or len(failures) == len(batch.rows):
            return _build_result(len(batch.rows), failures, [])
        readable = [index for index in range(len(batch.rows)) if index not in failures]
        rows = batch.rows if len(readable) == len(batch.rows) else [batch.rows[index] for index in readable]
        table, failed = build_table(self._config.input, names, rows)
        table.duplicates = {
            name: flags if len(readable) == len(flags) else flags[readable]
            for name, flags in duplicate_flags.items()
        }
        for name, check, reason in self._rules:
            for row in np.flatnonzero(check(table)).tolist():
                if row not in failed:
                    failed[row] = (name, reason(table, row))
        passed = _build_passed_mask(len(rows), failed)
        records = f"records {batch.first_record:,} to {batch.first_record + len(batch.rows) - 1:,} of {uri}"
        features, left_out = self.feature_builder.build_features(table, passed, records)
        if left_out:
            failed.update(left_out)
            passed = _build_passed_mask(len(rows), failed)
        self.group_counts.add(table.cells, table.numbers, {row: rule for row, (rule, _) in failed.items()})
        kept = table.select(passed)
        self.profile.add(kept.cells, kept.numbers)
        failures.update((readable[row], reject) for row, reject in failed.items())
        return _build_result(len(batch.rows), failures, features)


def build_table(
    input_config: InputConfig, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Table, dict[int, tuple[str, str]]]:
    """Build a table of the rows; also returns, by index, the rows with a cell that is not of its column's type."""
    cells: dict[str, Sequence[str]] = dict(zip(names, zip(*rows)))
    failed: dict[int, tuple[str, str]] = {}
    numbers = {}
    for column in input_config.columns:
        if column.is_numeric and column.name in cells:
            numbers[column.name], wrong = parse_column(cells[column.name], column.type)
            for row, allowed in wrong.items():
                found = format_excerpt(cells[column.name][row])
                failed.setdefault(row, ("type", f"{column.name} is {found}, allowed is {allowed}"))
    return Table(cells, numbers, len(rows)), failed


def _build_passed_mask(length: int, failed: Mapping[int, tuple[str, str]]) -> np.ndarray:
    keep = np.ones(length, dtype=bool)
    keep[list(failed)] = False
    return keep


def find_undecodable_records(batch: Batch) -> dict[int, tuple[str, str]]:
    """Find the records with bytes outside of the encoding, or with NUL."""
    together = "".join(batch.texts)
    if "\0" not in together and is_encodable(together):
        return {}
    found = {}
    for index, text in enumerate(map(batch.get_original_text, range(len(batch.texts)))):
        if "\0" in text:
            found[index] = ("encoding", "the record holds a NUL character")
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            byte = ord(text[error.start]) - 0xDC00
            found[index] = (
                "encoding",
                f"byte 0x{byte:02x} at character {error.start + 1} is not of the input's encoding",
            )
    return found


def _find_arity_failures(
    names: ColumnNames, batch: Batch, input_config: InputConfig, unread: Mapping[int, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    expected = -1 if names is None else len(names)
    if set(map(len, batch.rows)) == {expected}:
        return {}
    allowed = (
        f"allowed are {input_config.required_count} to {len(input_config.columns)}"
        if names is None
        else f"the records of this object have {expected}"
    )
    return {
        index: ("arity", f"{len(row)} field{'' if len(row) == 1 else 's'}, {allowed}")
        for index, row in enumerate(batch.rows)
        if len(row) != expected and index not in unread
    }


def _build_result(
    records: int, rejects: Mapping[int, tuple[str, str]], features: list[tuple[str, ...]]
) -> ValidationResult:
    return ValidationResult(_build_passed_mask(records, rejects), dict(sorted(rejects.items())), features)
