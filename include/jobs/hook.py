"""The user's own function over joined rows, a block at a time: a pandas DataFrame in, a pandas DataFrame out.

It sees every column of the records and of the answers, may change them and makes the columns that it announced; which
of them are published is decided after it. It keeps the rows: dropping records is for rules, before they are paid for.
"""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, Sequence

from include.jobs.answers import Taken
from include.jobs.errors import FunctionError, JoinError
from include.jobs.join_spec import JoinFunction, JoinSpec, OutputColumn
from include.jobs.json_reading import decode_record, is_text
from include.jobs.numeric import parse_column
from include.jobs.pandas_function import INEXACT, Cell, columns_twice, is_missing, load, text, typed
from include.jobs.records import Records


class Hook:
    """Applies the function to one block after the other; may be called on any thread."""

    def __init__(self, spec: JoinSpec, wanted: JoinFunction) -> None:
        self._spec = spec
        self._call = load(wanted.function, "join.function")
        self._name = f"{wanted.function.module}.{wanted.function.name}"
        self._types = {
            column.name: column.type for column in (*spec.columns, *spec.columns_of_answers, *wanted.adds)
        }
        # What the function is asked for, and what the output calls it.
        self._wanted: list[tuple[str, OutputColumn]] = [
            *((kept.source, kept.column) for kept in spec.kept),
            *((column.name, column) for column in (*spec.columns_of_answers, *wanted.adds)),
        ]

    def __call__(self, records: Records, taken: Taken) -> dict[str, Sequence[Cell]]:
        """The cells of each output column, in the output's order.

        Raises:
            FunctionError: the function failed, lost or added rows, or made no column that it must make.
            JoinError: a value that it made is not of its column's type.
        """
        cells = self._given(records, taken)
        given = {name: typed(self._types[name], column) for name, column in cells.items()}
        made = self._checked(self._frame(given), records)
        found: dict[str, Sequence[Cell]] = {}
        for name, column in self._wanted:
            if name in cells and made[name].equals(given[name]):
                found[column.name] = cells[name]  # untouched: its own text, to the digit
            else:
                found[column.name] = self._cells(made[name].tolist(), name, column.type, records)
        return found

    def _given(self, records: Records, taken: Taken) -> dict[str, Sequence[Cell]]:
        own = records.cells()
        absent: tuple[Cell, ...] = (None,) * records.count
        cells: dict[str, Sequence[Cell]] = {
            column.name: own.get(column.name, absent) for column in self._spec.columns
        }
        answers = [texts for field, texts in zip(self._spec.fields, taken.texts()) if not field.echoes]
        cells.update(zip((column.name for column in self._spec.columns_of_answers), answers))
        return cells

    def _frame(self, given: Mapping[str, Any]) -> Any:
        import pandas as pd

        return pd.DataFrame(given)

    def _checked(self, frame: Any, records: Records) -> Any:
        import pandas as pd

        try:
            made = self._call(frame.copy())
        except Exception as error:
            raise FunctionError(
                f"{self._name} failed on shard {records.shard}, {self._where(frame, records)}: "
                f"{type(error).__name__}: {error}. Nothing of this group was joined."
            ) from error
        where = f"shard {records.shard}, records {records.first:,} to {records.first + records.count - 1:,}"
        if not isinstance(made, pd.DataFrame):
            raise FunctionError(
                f"{self._name} gave {type(made).__name__} for {where}; it must give a pandas DataFrame"
            )
        if len(made) != len(frame) or not made.index.equals(frame.index):
            raise FunctionError(
                f"{self._name} gave {len(made):,} rows for the {len(frame):,} of {where}; it must give each row that "
                f"it was given once, in their order and with their index: records are left out by rules, before they "
                f"are scored"
            )
        missing = [name for name, _ in self._wanted if name not in made.columns]
        if missing:
            raise FunctionError(f"{self._name} gave no column {', '.join(missing)} for {where}")
        twice = columns_twice([name for name, _ in self._wanted], made)
        if twice:
            raise FunctionError(f"{self._name} gave column {', '.join(twice)} twice for {where}")
        return made

    def _where(self, frame: Any, records: Records) -> str:
        """The record that the function fails on, found by halves; or all, where it fails on no half of them."""
        first, last = 0, len(frame)
        while last - first > 1:
            middle = (first + last) // 2
            if self._fails(frame.iloc[first:middle]):
                last = middle
            elif self._fails(frame.iloc[middle:last]):
                first = middle
            else:
                break
        if last - first == 1:
            return f"record {records.first + first:,}"
        return f"records {records.first + first:,} to {records.first + last - 1:,}"

    def _fails(self, frame: Any) -> bool:
        try:
            self._call(frame.copy())
        except Exception:  # noqa: BLE001 - whatever the user's function raises, it failed
            return True
        return False

    def _cells(self, values: Sequence[Any], name: str, kind: str, records: Records) -> list[Cell]:
        if kind == "json":
            return [self._json(value, at, name, records) for at, value in enumerate(values)]
        if kind == "integer":  # pandas makes floats of integers wherever one is missing
            self._check_exact(values, name, records)
            values = [
                int(value) if isinstance(value, float) and value.is_integer() else value for value in values
            ]
        cells = [text(value) for value in values]
        index = next((index for index, cell in enumerate(cells) if not is_text(cell)), None)
        if index is not None:
            raise self._refused(values[index], index, name, records, "text: it has half of a surrogate pair")
        if kind in ("integer", "float"):
            wrong = parse_column(cells, kind)[1]
            if wrong:
                index, allowed = min(wrong.items())
                raise JoinError(
                    f"shard {records.shard}, record {records.first + index:,}: {self._name} made {name} "
                    f"{cells[index]!r}, allowed is {allowed}. Nothing of this group was joined."
                )
            return [cell or None for cell in cells]
        return [cell or (None if is_missing(value) else cell) for cell, value in zip(cells, values)]

    def _check_exact(self, values: Sequence[Any], name: str, records: Records) -> None:
        """Raise JoinError for a whole number that may have been another one before it was a float."""
        for at, value in enumerate(values):
            if isinstance(value, float) and INEXACT <= abs(value) < math.inf:
                found = "exact: a float of this size stands for several whole numbers; make it an int, or of type Int64"
                raise self._refused(value, at, name, records, found)

    def _json(self, value: Any, at: int, name: str, records: Records) -> Cell:
        if not isinstance(value, str) and is_missing(value):
            return None
        try:
            cell = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
            decode_record(cell)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._refused(value, at, name, records, f"JSON: {error}") from error
        return cell

    def _refused(self, value: Any, at: int, name: str, records: Records, what: str) -> JoinError:
        return JoinError(
            f"shard {records.shard}, record {records.first + at:,}: {self._name} made {name} {value!r}, which is not "
            f"{what}. Nothing of this group was joined."
        )
