"""Applies the user's pandas function to joined rows, one block at a time.

The function gets all columns of the records and the predictions, may change them, and adds the columns of
`function.adds`; columns to publish are selected after it. It must keep the rows: rules drop records, before scoring.
"""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, Sequence

from batch_inference.jobs.common.errors import FunctionError, JoinError
from batch_inference.jobs.common.json_reading import decode_record, is_encodable
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.common.pandas_function import (
    FIRST_INEXACT_INTEGER,
    Cell,
    find_duplicate_columns,
    is_missing,
    load_function,
    to_cell,
    to_series,
)
from batch_inference.jobs.config.join_spec import JoinFunction, JoinSpec, OutputColumn
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock


class JoinFunctionRunner:
    """Applies the function to blocks; may be called on any thread."""

    def __init__(self, spec: JoinSpec, join_function: JoinFunction) -> None:
        self._spec = spec
        self._function = load_function(join_function.function, "join.function")
        self._name = f"{join_function.function.module}.{join_function.function.name}"
        self._types = {
            column.name: column.type
            for column in (*spec.columns, *spec.prediction_columns, *join_function.added_columns)
        }
        # Columns read from the function's result, and their columns in the output.
        self._wanted: list[tuple[str, OutputColumn]] = [
            *((kept.record_column, kept.output_column) for kept in spec.published_columns),
            *((column.name, column) for column in (*spec.prediction_columns, *join_function.added_columns)),
        ]

    def __call__(self, records: RecordBlock, predictions: PredictionBatch) -> dict[str, Sequence[Cell]]:
        """Compute the cells of each output column, in the order of the output.

        Raises:
            FunctionError: the function failed, dropped or added rows, or did not return a required column.
            JoinError: a value that it returned is not of its column's type.
        """
        cells = self._collect_cells(records, predictions)
        input_columns = {name: to_series(self._types[name], column) for name, column in cells.items()}
        output_frame = self._call_checked(self._build_frame(input_columns), records)
        output_cells: dict[str, Sequence[Cell]] = {}
        for name, column in self._wanted:
            if name in cells and output_frame[name].equals(input_columns[name]):
                output_cells[column.name] = cells[name]  # unchanged: keep its original text
            else:
                output_cells[column.name] = self._to_cells(
                    output_frame[name].tolist(), name, column.type, records
                )
        return output_cells

    def _collect_cells(self, records: RecordBlock, predictions: PredictionBatch) -> dict[str, Sequence[Cell]]:
        own = records.read_cells()
        absent: tuple[Cell, ...] = (None,) * records.record_count
        cells: dict[str, Sequence[Cell]] = {
            column.name: own.get(column.name, absent) for column in self._spec.columns
        }
        prediction_columns = [
            texts
            for field, texts in zip(self._spec.prediction_fields, predictions.read_texts())
            if not field.is_echo
        ]
        cells.update(zip((column.name for column in self._spec.prediction_columns), prediction_columns))
        return cells

    def _build_frame(self, given: Mapping[str, Any]) -> Any:
        import pandas as pd

        return pd.DataFrame(given)

    def _call_checked(self, frame: Any, records: RecordBlock) -> Any:
        import pandas as pd

        try:
            output_frame = self._function(frame.copy())
        except Exception as error:
            raise FunctionError(
                f"{self._name} failed on shard {records.shard}, {self._locate_failure(frame, records)}: "
                f"{type(error).__name__}: {error}. This part was not joined."
            ) from error
        last_record = records.first_record + records.record_count - 1
        where = f"shard {records.shard}, records {records.first_record:,} to {last_record:,}"
        if not isinstance(output_frame, pd.DataFrame):
            raise FunctionError(
                f"{self._name} returned {type(output_frame).__name__} for {where}; it must return a pandas DataFrame"
            )
        if len(output_frame) != len(frame) or not output_frame.index.equals(frame.index):
            raise FunctionError(
                f"{self._name} returned {len(output_frame):,} rows for the {len(frame):,} of {where}; it must return "
                f"each input row once, in order and with its index: records are left out by rules, before they are "
                f"scored"
            )
        missing = [name for name, _ in self._wanted if name not in output_frame.columns]
        if missing:
            raise FunctionError(f"{self._name} returned no column {', '.join(missing)} for {where}")
        duplicate_names = find_duplicate_columns([name for name, _ in self._wanted], output_frame)
        if duplicate_names:
            raise FunctionError(
                f"{self._name} returned column {', '.join(duplicate_names)} twice for {where}"
            )
        return output_frame

    def _locate_failure(self, frame: Any, records: RecordBlock) -> str:
        """Locate the record on which the function fails, by bisection; all records if it fails on neither half."""
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
            return f"record {records.first_record + first:,}"
        return f"records {records.first_record + first:,} to {records.first_record + last - 1:,}"

    def _fails(self, frame: Any) -> bool:
        try:
            self._function(frame.copy())
        except Exception:  # noqa: BLE001 - whatever the user's function raises, it failed
            return True
        return False

    def _to_cells(self, values: Sequence[Any], name: str, kind: str, records: RecordBlock) -> list[Cell]:
        if kind == "json":
            return [self._to_json_cell(value, at, name, records) for at, value in enumerate(values)]
        if kind == "integer":  # pandas converts integers to floats if one is missing
            self._check_exact(values, name, records)
            values = [
                int(value) if isinstance(value, float) and value.is_integer() else value for value in values
            ]
        cells = [to_cell(value) for value in values]
        index = next((index for index, cell in enumerate(cells) if not is_encodable(cell)), None)
        if index is not None:
            raise self._build_value_error(
                values[index], index, name, records, "text: it has half of a surrogate pair"
            )
        if kind in ("integer", "float"):
            wrong = parse_column(cells, kind)[1]
            if wrong:
                index, allowed = min(wrong.items())
                raise JoinError(
                    f"shard {records.shard}, record {records.first_record + index:,}: {self._name} made {name} "
                    f"{cells[index]!r}, allowed is {allowed}. This part was not joined."
                )
            return [cell or None for cell in cells]
        return [cell or (None if is_missing(value) else cell) for cell, value in zip(cells, values)]

    def _check_exact(self, values: Sequence[Any], name: str, records: RecordBlock) -> None:
        """Raise JoinError for an integer that may have been rounded when it became a float."""
        for at, value in enumerate(values):
            if isinstance(value, float) and FIRST_INEXACT_INTEGER <= abs(value) < math.inf:
                found = "exact: a float of this size stands for several whole numbers; make it an int, or of type Int64"
                raise self._build_value_error(value, at, name, records, found)

    def _to_json_cell(self, value: Any, at: int, name: str, records: RecordBlock) -> Cell:
        if not isinstance(value, str) and is_missing(value):
            return None
        try:
            cell = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
            decode_record(cell)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._build_value_error(value, at, name, records, f"JSON: {error}") from error
        return cell

    def _build_value_error(
        self, value: Any, at: int, name: str, records: RecordBlock, what: str
    ) -> JoinError:
        return JoinError(
            f"shard {records.shard}, record {records.first_record + at:,}: {self._name} made {name} {value!r}, "
            f"which is not {what}. This part was not joined."
        )
