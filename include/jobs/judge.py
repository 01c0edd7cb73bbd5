"""Which records of a batch pass, why the others do not, and what the model sees of those that do."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import Mapping, Sequence

import numpy as np

from include.jobs.batch import Batch
from include.jobs.config import Config, Input
from include.jobs.features import Features
from include.jobs.groups import Groups
from include.jobs.layout import Layout
from include.jobs.numeric import parse_column
from include.jobs.profiles import Profile
from include.jobs.rules import Table, compile_rule, shown


@dataclass(frozen=True)
class Reject:
    """One record that did not pass.

    Attributes:
        index: its place in the batch.
        rule: the first rule that it failed.
    """

    index: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What became of a batch.

    Attributes:
        keep: for each record of the batch whether it passed.
        rejects: those that did not, in order.
        features: the cells that the model sees, one tuple for each record that passed, in order.
    """

    keep: np.ndarray
    rejects: list[Reject]
    features: list[tuple[str, ...]]


class Judge:
    """Applies the implicit rules and the pipeline's own, in order; the first failed one is the reason."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules = [(rule.name, *compile_rule(rule, config.input)) for rule in config.rules]
        self.features = Features(config)
        self.profile = Profile(config.input.columns)
        self.groups = Groups(config.groups)

    def verdict(
        self, layout: Layout, batch: Batch, duplicates: Mapping[str, np.ndarray], where: str
    ) -> Verdict:
        """`duplicates`: for each `duplicates` rule by name, which records of the batch are repeats.

        `where` names the object, for a message.
        """
        why: dict[int, tuple[str, str]] = {**unreadable(batch), **batch.broken}
        why.update(_misfits(layout, batch, self._config, why))
        self.groups.add_unreadable([rule for rule, _ in why.values()])
        if layout.names is None or len(why) == len(batch.rows):
            return _verdict(len(batch.rows), why, [])
        fit = [index for index in range(len(batch.rows)) if index not in why]
        rows = batch.rows if len(fit) == len(batch.rows) else [batch.rows[index] for index in fit]
        table, failed = typed_table(self._config.input, layout.names, rows)
        table.duplicates = {
            name: flags if len(fit) == len(flags) else flags[fit] for name, flags in duplicates.items()
        }
        for name, check, reason in self._rules:
            for row in np.flatnonzero(check(table)).tolist():
                if row not in failed:
                    failed[row] = (name, reason(table, row))
        keep = _mask(len(rows), failed)
        records = f"records {batch.first:,} to {batch.first + len(batch.rows) - 1:,} of {where}"
        features, without = self.features.make(table, keep, records)
        if without:
            failed.update(without)
            keep = _mask(len(rows), failed)
        self.groups.add(table.cells, table.numbers, {row: rule for row, (rule, _) in failed.items()})
        self.profile.add(*_passing(table, keep))
        why.update((fit[row], reject) for row, reject in failed.items())
        return _verdict(len(batch.rows), why, features)


def typed_table(
    source: Input, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Table, dict[int, tuple[str, str]]]:
    """The rows column by column, and, by place, those with a cell that is not of its column's type."""
    cells: dict[str, Sequence[str]] = dict(zip(names, zip(*rows)))
    failed: dict[int, tuple[str, str]] = {}
    numbers = {}
    for column in source.columns:
        if column.numeric and column.name in cells:
            numbers[column.name], wrong = parse_column(cells[column.name], column.type)
            for row, allowed in wrong.items():
                found = shown(cells[column.name][row])
                failed.setdefault(row, ("type", f"{column.name} is {found}, allowed is {allowed}"))
    return Table(cells, numbers, {}, len(rows)), failed


def _mask(length: int, failed: Mapping[int, tuple[str, str]]) -> np.ndarray:
    keep = np.ones(length, dtype=bool)
    keep[list(failed)] = False
    return keep


def _passing(table: Table, keep: np.ndarray) -> tuple[Mapping[str, Sequence[str]], Mapping[str, np.ndarray]]:
    if keep.all():
        return table.cells, table.numbers
    kept = keep.tolist()
    cells = {name: list(compress(column, kept)) for name, column in table.cells.items()}
    return cells, {name: values[keep] for name, values in table.numbers.items()}


def unreadable(batch: Batch) -> dict[int, tuple[str, str]]:
    """The records whose text is not text: bytes outside of the encoding, or NUL."""
    together = "".join(batch.texts)
    if "\0" not in together and together.isascii():
        return {}
    try:
        together.encode("utf-8")
        if "\0" not in together:
            return {}
    except UnicodeEncodeError:
        pass
    found = {}
    for index, text in enumerate(map(batch.original, range(len(batch.texts)))):
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


def _misfits(
    layout: Layout, batch: Batch, config: Config, unread: Mapping[int, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    expected = len(layout.names) if layout.names is not None else -1
    if set(map(len, batch.rows)) == {expected}:
        return {}
    return {
        index: ("arity", layout.misfit(len(row), config.input))
        for index, row in enumerate(batch.rows)
        if len(row) != expected and index not in unread
    }


def _verdict(records: int, why: Mapping[int, tuple[str, str]], features: list[tuple[str, ...]]) -> Verdict:
    return Verdict(_mask(records, why), [Reject(index, *why[index]) for index in sorted(why)], features)
