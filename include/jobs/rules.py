"""The pipeline's rules over a table of columns: which rows fail, and why in words."""

from __future__ import annotations

import re
from typing import Callable, Sequence

import numpy as np

from include.jobs.config import Input, Rule
from include.jobs.numeric import parse_cell

_SHOWN = 80  # characters of a cell in a reason; the record's whole text stands beside it


class Table:
    """Rows of one layout, column by column.

    Attributes:
        cells: the text of each cell, by column name.
        numbers: float64 with NaN for null, for the numeric columns.
        duplicates: for each `duplicates` rule by name, which rows repeat an earlier one.
    """

    def __init__(
        self,
        cells: dict[str, Sequence[str]],
        numbers: dict[str, np.ndarray],
        duplicates: dict[str, np.ndarray],
        length: int,
    ) -> None:
        self.cells = cells
        self.numbers = numbers
        self.duplicates = duplicates
        self.length = length

    def empty(self, name: str) -> np.ndarray:
        """Which rows have no value in column `name`; a column that this object leaves out has none at all."""
        if name not in self.cells:
            return np.ones(self.length, dtype=bool)
        if name in self.numbers:
            return np.asarray(np.isnan(self.numbers[name]))
        cells = self.cells[name]
        if "" not in cells:
            return np.zeros(self.length, dtype=bool)
        return np.array([not cell for cell in cells], dtype=bool)


# For each row whether it fails, and for one failing row the reason.
Check = Callable[[Table], np.ndarray]
Reason = Callable[[Table, int], str]


def compile_rule(rule: Rule, source: Input) -> tuple[Check, Reason]:
    """The rule as two functions: which rows of a table fail it, and why a given row does."""
    return _COMPILERS[rule.kind](rule, source)


def shown(cell: str) -> str:
    return repr(cell if len(cell) <= _SHOWN else cell[:_SHOWN] + "…")


def _required(rule: Rule, _: Input) -> tuple[Check, Reason]:
    def check(table: Table) -> np.ndarray:
        return np.asarray(np.logical_or.reduce([table.empty(name) for name in rule.columns]))

    def reason(table: Table, row: int) -> str:
        missing = [
            name for name in rule.columns if name not in table.cells or not table.cells[name][row].strip()
        ]
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty, a value is required"

    return check, reason


def _range(rule: Rule, _: Input) -> tuple[Check, Reason]:
    name = rule.columns[0]
    low, high = rule.minimum, rule.maximum
    bounds = []
    if low is not None:
        bounds.append(f"above {low:g}" if rule.exclusive_min else f"at least {low:g}")
    if high is not None:
        bounds.append(f"below {high:g}" if rule.exclusive_max else f"at most {high:g}")
    allowed = " and ".join(bounds)

    def check(table: Table) -> np.ndarray:
        failing = np.zeros(table.length, dtype=bool)
        values = table.numbers.get(name)
        if values is None:
            return failing
        with np.errstate(invalid="ignore"):  # a null compares as false, which is what is meant
            if low is not None:
                failing |= (values <= low) if rule.exclusive_min else (values < low)
            if high is not None:
                failing |= (values >= high) if rule.exclusive_max else (values > high)
        return failing

    def reason(table: Table, row: int) -> str:
        return f"{name} is {table.cells[name][row].strip()}, allowed is {allowed}"

    return check, reason


def _allowed(rule: Rule, source: Input) -> tuple[Check, Reason]:
    name = rule.columns[0]
    numeric = source.column(name).numeric
    listed = ", ".join(rule.values if numeric else map(repr, rule.values))
    texts = frozenset(rule.values)
    parsed = [parse_cell(value, "float")[0] for value in rule.values] if numeric else []
    values = np.array([value for value in parsed if value is not None])

    def check(table: Table) -> np.ndarray:
        if name not in table.cells:
            return np.zeros(table.length, dtype=bool)
        if numeric:
            return np.asarray(~np.isin(table.numbers[name], values) & ~table.empty(name))
        cells = table.cells[name]
        if texts.issuperset(set(cells)):
            return np.zeros(table.length, dtype=bool)
        return np.array([cell not in texts and cell != "" for cell in cells], dtype=bool)

    def reason(table: Table, row: int) -> str:
        cell = table.cells[name][row]
        return f"{name} is {cell.strip() if numeric else shown(cell)}, allowed is one of {listed}"

    return check, reason


def _pattern(rule: Rule, _: Input) -> tuple[Check, Reason]:
    name = rule.columns[0]
    fits = re.compile(rule.pattern).fullmatch

    def check(table: Table) -> np.ndarray:
        if name not in table.cells:
            return np.zeros(table.length, dtype=bool)
        cells = table.cells[name]
        failing = {cell for cell in set(cells) if cell != "" and not fits(cell)}
        if not failing:
            return np.zeros(table.length, dtype=bool)
        return np.array([cell in failing for cell in cells], dtype=bool)

    def reason(table: Table, row: int) -> str:
        return f"{name} is {shown(table.cells[name][row])}, allowed is what fully matches {rule.pattern}"

    return check, reason


def _duplicates(rule: Rule, source: Input) -> tuple[Check, Reason]:
    whole = rule.columns == source.names
    what = "the whole record" if whole else ", ".join(rule.columns)

    def check(table: Table) -> np.ndarray:
        return table.duplicates[rule.name]

    def reason(_table: Table, _row: int) -> str:
        return f"{what} {'was' if whole or len(rule.columns) == 1 else 'were'} seen before in this run"

    return check, reason


def _outlier(rule: Rule, _: Input) -> tuple[Check, Reason]:
    name, low, high = rule.columns[0], rule.minimum, rule.maximum

    def check(table: Table) -> np.ndarray:
        values = table.numbers.get(name)
        if values is None:
            return np.zeros(table.length, dtype=bool)
        with np.errstate(invalid="ignore"):
            return np.asarray((values < low) | (values > high))

    def reason(table: Table, row: int) -> str:
        return f"{name} is {table.cells[name][row].strip()}, allowed is {low:g} to {high:g}: {rule.why}"

    return check, reason


_COMPILERS: dict[str, Callable[[Rule, Input], tuple[Check, Reason]]] = {
    "required": _required,
    "range": _range,
    "allowed": _allowed,
    "pattern": _pattern,
    "duplicates": _duplicates,
    "outlier": _outlier,
}
