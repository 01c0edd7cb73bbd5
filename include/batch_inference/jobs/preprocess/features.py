"""Builds the features of the records that passed: selects columns, imputes, applies the user's function."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import Any, Callable, Sequence

import numpy as np

from batch_inference.jobs.common.errors import FunctionError
from batch_inference.jobs.common.json_reading import is_encodable
from batch_inference.jobs.common.pandas_function import (
    find_duplicate_columns,
    load_function,
    to_cell,
    to_series,
)
from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.rules import Table, format_cell

Cells = Sequence[str]


class FeatureBuilder:
    """Builds the features of each batch.

    Attributes:
        imputed: number of imputed cells, by column.
    """

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        self._numeric = {
            column.name: column.type for column in config.input_config.columns if column.is_numeric
        }
        self._function = load_function(config.function, "function") if config.function else None
        self.imputed: Counter[str] = Counter()

    def build_features(
        self, table: Table, passed: np.ndarray, records_label: str
    ) -> tuple[list[tuple[str, ...]], dict[int, tuple[str, str]]]:
        """Build the features of the rows that passed; also returns, by index in the table, the rows that fail here.

        `records_label` names the records in messages. Raises FunctionError if the user's function fails.
        """
        places = np.flatnonzero(passed).tolist()
        cells = table.cells
        if len(places) < table.row_count:
            kept = passed.tolist()
            cells = {name: list(compress(column, kept)) for name, column in cells.items()}
        for impute in self._config.imputations:
            empty = sum(not cell.strip() for cell in cells.get(impute.column, ()))
            if empty:
                cells = {
                    **cells,
                    impute.column: [cell if cell.strip() else impute.value for cell in cells[impute.column]],
                }
                self.imputed[impute.column] += empty
        failed: dict[int, tuple[str, str]] = {}
        if self._function and places:
            cells, stayed = self._apply_function(self._function, cells, records_label)
            if len(stayed) < len(places):
                reason = ("function", f"{self._function_name} left the record out")
                failed = {place: reason for at, place in enumerate(places) if at not in stayed}
                places = [place for at, place in enumerate(places) if at in stayed]
        columns = [cells[name] for name in self._config.feature_columns]
        breaks = _line_breaks(self._config.feature_columns, columns)
        rows = list(zip(*columns))
        if breaks:
            failed.update((places[at], ("line break", reason)) for at, reason in breaks.items())
            rows = [row for at, row in enumerate(rows) if at not in breaks]
        return rows, failed

    @property
    def _function_name(self) -> str:
        function = self._config.function
        return f"{function.module}.{function.name}" if function else ""

    def _apply_function(
        self, function: Callable[[Any], Any], cells: dict[str, Cells], records_label: str
    ) -> tuple[dict[str, Cells], set[int]]:
        """Apply the user's function; returns its columns as cells, and the rows that it kept."""
        import pandas as pd

        input_frame = pd.DataFrame(
            {
                name: to_series(self._numeric.get(name), [cell or None for cell in column])
                for name, column in cells.items()
            }
        )
        try:
            output_frame = function(input_frame.copy())
        except Exception as error:
            raise FunctionError(
                f"{self._function_name} failed on {records_label}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(output_frame, pd.DataFrame):
            raise FunctionError(
                f"{self._function_name} returned {type(output_frame).__name__}, it must return a pandas DataFrame"
            )
        if not output_frame.index.is_unique or not output_frame.index.isin(input_frame.index).all():
            raise FunctionError(
                f"{self._function_name} returned rows that are not in its input: it must keep the index of the rows"
            )
        missing = [name for name in self._config.feature_columns if name not in output_frame.columns]
        if missing:
            raise FunctionError(
                f"{self._function_name} made no column {', '.join(missing)}, which features.columns names"
            )
        duplicate_names = find_duplicate_columns(self._config.feature_columns, output_frame)
        if duplicate_names:
            raise FunctionError(
                f"{self._function_name} made column {', '.join(duplicate_names)} twice, which features.columns names"
            )
        output_frame = output_frame.sort_index()
        kept_rows = output_frame.index.tolist()
        feature_cells: dict[str, Cells] = {}
        for name in self._config.feature_columns:
            column = output_frame[name]
            if name in cells and column.equals(input_frame[name].loc[kept_rows]):
                feature_cells[name] = [
                    cells[name][at] for at in kept_rows
                ]  # unchanged: keep its original text
            else:
                feature_cells[name] = [to_cell(value) for value in column.tolist()]
                not_encodable = next((cell for cell in feature_cells[name] if not is_encodable(cell)), None)
                if not_encodable is not None:
                    raise FunctionError(
                        f"{self._function_name} made {name} {format_cell(not_encodable)} of {records_label}, which "
                        "is not text: it has half of a surrogate pair"
                    )
        return feature_cells, set(kept_rows)


def _line_breaks(names: Sequence[str], columns: Sequence[Cells]) -> dict[int, str]:
    """Find the rows with a line break in a feature: SageMaker splits at line breaks, also within quotes."""
    found: dict[int, str] = {}
    for name, column in zip(names, columns):
        together = "".join(column)
        if "\n" in together or "\r" in together:
            for at, cell in enumerate(column):
                if "\n" in cell or "\r" in cell:
                    found.setdefault(
                        at, f"feature {name} is {format_cell(cell)}: a line break cannot be sent to the model"
                    )
    return found
