"""Evaluates the rules of the pipeline over a table of columns: which rows fail, and why."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import ByteCells
from batch_inference.jobs.common.cell_types import is_number_type, parse_cell, parse_decimal_type
from batch_inference.jobs.common.json_reading import format_excerpt
from batch_inference.jobs.config.preprocess_config import Column, InputConfig, Rule
from batch_inference.jobs.preprocess.rejects import Reject


@dataclass
class Table:
    """Rows with the same columns, column by column.

    Attributes:
        cells: the text of each cell, by column name.
        numbers: float64 with NaN for null, for the columns that are not of strings (see numeric.py).
        is_plain: for each row, whether no cell holds a separator, a quote or a line break.
        duplicates: for each `duplicates` rule by name, which rows repeat an earlier one.
    """

    cells: dict[str, ByteCells]
    numbers: dict[str, np.ndarray]
    is_plain: np.ndarray
    duplicates: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def row_count(self) -> int:
        return len(self.is_plain)

    def find_empty(self, column_name: str) -> np.ndarray:
        """Find the rows without a value in a column; a column that the object lacks is empty in all rows."""
        if column_name not in self.cells:
            return np.ones(self.row_count, dtype=bool)
        if column_name in self.numbers:
            return np.asarray(np.isnan(self.numbers[column_name]))
        return np.asarray(self.cells[column_name].starts == self.cells[column_name].ends)

    def find_blank(self, column_name: str) -> np.ndarray:
        """Find the rows whose cell of a column of the table is empty or only whitespace."""
        is_blank = self.find_empty(column_name)
        cells = self.cells[column_name]
        first = np.frombuffer(cells.buffer, dtype=np.uint8)[cells.starts]
        for row in np.flatnonzero(~is_blank & ((first <= ord(" ")) | (first >= 0x80))).tolist():
            is_blank[row] = not cells[row].strip()
        return is_blank

    def select(self, mask: np.ndarray) -> Table:
        """Select the rows where `mask` is true."""
        if mask.all():
            return self
        return Table(
            {name: cells.select(mask) for name, cells in self.cells.items()},
            {name: numbers[mask] for name, numbers in self.numbers.items()},
            self.is_plain[mask],
        )


# For each row whether it fails, and for one failing row why.
Check = Callable[[Table], np.ndarray]
Explain = Callable[[Table, int], Reject]


def compile_rule(rule: Rule, input_config: InputConfig) -> tuple[Check, Explain]:
    """Compile a rule into two functions: which rows of a table fail, and why one row does."""
    return _COMPILERS[rule.kind](rule, input_config)


def _required(rule: Rule, _: InputConfig) -> tuple[Check, Explain]:
    def check(table: Table) -> np.ndarray:
        return np.asarray(np.logical_or.reduce([table.find_empty(name) for name in rule.columns]))

    def explain(table: Table, row: int) -> Reject:
        missing = [
            name for name in rule.columns if name not in table.cells or not table.cells[name][row].strip()
        ]
        reason = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty, a value is required"
        return Reject(rule.name, "empty", "a value", missing[0], reason)

    return check, explain


def _range(rule: Rule, source: InputConfig) -> tuple[Check, Explain]:
    column = source.get_column(rule.columns[0])
    name = column.name
    low, high = (_parse_bound(bound, column.type) for bound in (rule.min, rule.max))
    bounds = []
    if rule.min is not None:
        bounds.append(f"{'above' if rule.exclusive_min else 'at least'} {_format_bound(rule.min)}")
    if rule.max is not None:
        bounds.append(f"{'below' if rule.exclusive_max else 'at most'} {_format_bound(rule.max)}")
    allowed = rule.expected or " and ".join(bounds)
    least, most = (None if bound is None else float(bound) for bound in (low, high))
    is_below = operator.le if rule.exclusive_min else operator.lt
    is_above = operator.ge if rule.exclusive_max else operator.gt
    find_inexact = _compile_inexact(column, [bound for bound in (low, high) if bound is not None])

    def check(table: Table) -> np.ndarray:
        failing = np.zeros(table.row_count, dtype=bool)
        values = table.numbers.get(name)
        if values is None:
            return failing
        with np.errstate(invalid="ignore"):  # a null compares as false, so it passes
            if least is not None:
                failing |= is_below(values, least)
            if most is not None:
                failing |= is_above(values, most)
        for row, value in find_inexact(table):
            failing[row] = (low is not None and is_below(value, low)) or (
                high is not None and is_above(value, high)
            )
        return failing

    def explain(table: Table, row: int) -> Reject:
        return Reject(rule.name, table.cells[name][row].strip(), allowed, name)

    return check, explain


def _allowed(rule: Rule, source: InputConfig) -> tuple[Check, Explain]:
    name = rule.columns[0]
    column = source.get_column(name)
    listed = ", ".join(rule.values if column.is_typed else map(repr, rule.values))
    texts = frozenset(rule.values)
    # A float is what a whole number may be compared with; all other values are of the column's type.
    kind = "float" if column.type == "integer" else column.type
    exact = frozenset(
        Decimal(text.strip()) if column.type == "integer" else value
        for text, value in [(text, parse_cell(text, kind)[0]) for text in rule.values if column.is_typed]
        if value is not None
    )
    values = np.array([float(value) for value in exact])
    find_inexact = _compile_inexact(column, list(exact))

    def check(table: Table) -> np.ndarray:
        if column.is_typed and name in table.numbers:
            failing = np.asarray(~np.isin(table.numbers[name], values) & ~table.find_empty(name))
            for row, value in find_inexact(table):
                failing[row] = value not in exact  # a Decimal equals, and hashes as, the int of its value
            return failing
        return _flag_cells(table, name, lambda cell: cell not in texts)

    def explain(table: Table, row: int) -> Reject:
        cell = table.cells[name][row]
        found = cell.strip() if column.is_typed else format_excerpt(cell)
        return Reject(rule.name, found, f"one of {listed}", name)

    return check, explain


def _flag_cells(table: Table, name: str, is_failing: Callable[[str], bool]) -> np.ndarray:
    """Flag the rows whose cell fails, unless it is empty; each distinct cell is checked once."""
    cells = table.cells.get(name, ())
    failing = {cell for cell in set(cells) if cell != "" and is_failing(cell)}
    if not failing:
        return np.zeros(table.row_count, dtype=bool)
    return np.array([cell in failing for cell in cells], dtype=bool)


def _compile_inexact(column: Column, bounds: Sequence[Any]) -> Callable[[Table], Iterator[tuple[int, Any]]]:
    """Compile a function that yields row and exact value of each cell that is a bound as a double, but may not be it.

    All other cells compare as their doubles do. So do whole numbers below 2**53 and decimals of at most 15 digits: each
    has a double of its own.
    """
    size = parse_decimal_type(column.type)

    def is_exact(bound: Any) -> bool:
        if size is None:
            return column.type == "float" or abs(bound) < 2.0**53
        return bool(
            -bound.as_tuple().exponent <= size.scale and abs(bound) < Decimal(10) ** (15 - size.scale)
        )

    doubles = [float(bound) for bound in bounds if not is_exact(bound)]

    def find_inexact(table: Table) -> Iterator[tuple[int, Any]]:
        if doubles and column.name in table.numbers:
            cells = table.cells[column.name]
            for row in np.flatnonzero(np.isin(table.numbers[column.name], doubles)).tolist():
                yield row, parse_cell(cells[row], column.type)[0]

    return find_inexact


def _parse_bound(bound: int | float | str | None, column_type: str) -> Any:
    """A bound as a value of the column: a float means the decimal that it is written as."""
    if bound is None or not (isinstance(bound, str) or column_type.startswith("decimal(")):
        return bound
    return Decimal(str(bound)) if is_number_type(column_type) else parse_cell(str(bound), column_type)[0]


def _format_bound(bound: float | str) -> str:
    """A bound in as few digits as give it back."""
    if isinstance(bound, (int, str)):
        return str(bound)
    short = f"{bound:g}"
    return short if float(short) == bound else repr(bound)


def _pattern(rule: Rule, _: InputConfig) -> tuple[Check, Explain]:
    name = rule.columns[0]
    fits = re.compile(rule.pattern).fullmatch

    def check(table: Table) -> np.ndarray:
        return _flag_cells(table, name, lambda cell: not fits(cell))

    def explain(table: Table, row: int) -> Reject:
        found = format_excerpt(table.cells[name][row])
        return Reject(rule.name, found, f"what fully matches {rule.pattern}", name)

    return check, explain


def _duplicates(rule: Rule, source: InputConfig) -> tuple[Check, Explain]:
    whole = rule.columns == source.column_names
    what = "the whole record" if whole else ", ".join(rule.columns)

    def check(table: Table) -> np.ndarray:
        return table.duplicates[rule.name]

    def explain(_table: Table, _row: int) -> Reject:
        reason = f"{what} {'was' if whole or len(rule.columns) == 1 else 'were'} seen before in this run"
        return Reject(rule.name, "seen before in this run", "once", "" if whole else what, reason)

    return check, explain


_COMPILERS: dict[str, Callable[[Rule, InputConfig], tuple[Check, Explain]]] = {
    "required": _required,
    "range": _range,
    "allowed": _allowed,
    "pattern": _pattern,
    "duplicates": _duplicates,
}
