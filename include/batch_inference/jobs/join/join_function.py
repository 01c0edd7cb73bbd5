"""Applies the user's pandas function to joined rows, one block at a time.

The function gets all columns of the records and the predictions, may change them, and adds the columns of
`function.adds`; columns to publish are selected after it. It must keep the rows: rules drop records, before scoring.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from functools import partial
from typing import Any, Callable, Sequence

from batch_inference.jobs.common.cell_types import is_time_type, is_typed
from batch_inference.jobs.common.errors import FunctionError, JoinError
from batch_inference.jobs.common.json_reading import Cell, decode_record, is_encodable
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.common.pandas_function import (
    FIRST_INEXACT_INTEGER,
    PandasFunction,
    format_pandas_value,
    is_missing,
)
from batch_inference.jobs.config.join_spec import JoinFunction, JoinSpec, OutputColumn
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock


class JoinFunctionRunner:
    """Applies the function to blocks; may be called on any thread."""

    def __init__(self, spec: JoinSpec, function: JoinFunction) -> None:
        self._spec = spec
        # Columns read from the function's result, and their columns in the output.
        self._wanted: dict[str, OutputColumn] = {
            **{kept.record_column: kept.output_column for kept in spec.published_columns},
            **{column.name: column for column in (*spec.prediction_columns, *function.adds)},
        }
        self._function = PandasFunction(
            function,
            "join.function",
            types={column.name: column.type for column in (*spec.columns, *spec.prediction_columns)},
            wanted=list(self._wanted),
            may_drop_rows=False,
        )

    def __call__(self, records: RecordBlock, predictions: PredictionBatch) -> dict[str, Sequence[Cell]]:
        """Compute the cells of each output column, in the order of the output.

        Raises:
            FunctionError: the function failed, dropped or added rows, or did not return a required column.
            JoinError: a value that it returned is not of its column's type.
        """

        def label_records(first: int, last: int) -> str:
            first, last = records.first_record + first, records.first_record + last
            numbers = f"record {first:,}" if first == last else f"records {first:,} to {last:,}"
            return f"shard {records.shard}, {numbers}"

        cells = self._collect_cells(records, predictions)
        label = label_records(0, records.record_count - 1)
        try:
            _, values_by_name = self._function(cells, label, label_records)
        except FunctionError as error:
            raise FunctionError(f"{error}. This part was not joined.") from error
        return {
            self._wanted[name].name: cells[name]
            if values is None
            else self._to_cells(values, name, self._wanted[name].type, records)
            for name, values in values_by_name.items()
        }

    def _collect_cells(self, records: RecordBlock, predictions: PredictionBatch) -> dict[str, Sequence[Cell]]:
        own = records.read_cells()
        absent: tuple[Cell, ...] = (None,) * records.record_count
        cells: dict[str, Sequence[Cell]] = {
            column.name: own.get(column.name, absent) for column in self._spec.columns
        }
        for field, texts in zip(self._spec.prediction_fields, predictions.read_texts()):
            if not field.is_echo:
                cells[field.column.name] = texts
        return cells

    def _to_cells(self, values: Sequence[Any], name: str, kind: str, records: RecordBlock) -> list[Cell]:
        def build_error(at: int, problem: str, found: Any = None) -> JoinError:
            made = f"{self._function} made {name} {values[at] if found is None else found!r}"
            return JoinError(f"{records.label(at)}: {made}, {problem}. This part was not joined.")

        if kind == "json":
            return [_to_json_cell(value, partial(build_error, at)) for at, value in enumerate(values)]
        converted = values
        if kind == "integer":  # pandas converts integers to floats if one is missing
            for at, value in enumerate(values):
                if isinstance(value, float) and FIRST_INEXACT_INTEGER <= abs(value) < math.inf:
                    raise build_error(
                        at,
                        "which is not exact: a float of this size stands for several whole numbers; make it an int, "
                        "or of type Int64",
                    )
            converted = [
                int(value) if isinstance(value, float) and value.is_integer() else value for value in values
            ]
        elif is_time_type(kind):
            converted = [_format_time(value, kind) for value in values]
        cells = [format_pandas_value(value) for value in converted]
        for at, cell in enumerate(cells):
            if not is_encodable(cell):
                raise build_error(at, "which is not text: it has half of a surrogate pair")
        if is_typed(kind):
            wrong = parse_column(cells, kind).allowed
            if wrong:
                at, allowed = min(wrong.items())
                raise build_error(at, f"allowed is {allowed}", cells[at])
            return [cell or None for cell in cells]
        return [cell or (None if is_missing(value) else cell) for cell, value in zip(cells, values)]


def _format_time(value: Any, kind: str) -> Any:
    """The ISO text of a date or a timestamp; any other value as it is, also a time of day in a column of dates."""
    if is_missing(value) or not isinstance(value, date):
        return value
    if (
        kind == "date"
        and isinstance(value, datetime)
        and value.time() == time()
        and not getattr(value, "nanosecond", 0)
    ):
        return value.date().isoformat()
    return value.isoformat()


def _to_json_cell(value: Any, build_error: Callable[[str], JoinError]) -> Cell:
    if not isinstance(value, str) and is_missing(value):
        return None
    try:
        cell = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        decode_record(cell)
    except (TypeError, ValueError, RecursionError) as error:
        raise build_error(f"which is not JSON: {error}") from error
    return cell
