"""Builds the features of the records that passed: selects columns, imputes, applies the user's function."""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.errors import FunctionError
from batch_inference.jobs.common.json_reading import format_excerpt, is_encodable
from batch_inference.jobs.common.pandas_function import PandasFunction, format_pandas_value
from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.rules import Table

Cells = Sequence[str]


class FeatureBuilder:
    """Builds the features of each batch."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        self._function = config.function and PandasFunction(
            config.function,
            "function",
            types={column.name: column.type for column in config.input.columns},
            wanted=config.feature_columns,
            may_drop_rows=True,
        )

    def build_features(
        self, table: Table, passed: np.ndarray, records_label: str
    ) -> tuple[list[tuple[str, ...]], dict[int, tuple[str, str]]]:
        """Build the features of the rows that passed; also returns, by index in the table, the rows that fail here.

        `records_label` names the records in messages. Raises FunctionError if the user's function fails.
        """
        places = np.flatnonzero(passed).tolist()
        cells: Mapping[str, Cells] = table.select(passed).cells
        for impute in self._config.imputations:
            if impute.column in cells:
                column = [cell if cell.strip() else impute.value for cell in cells[impute.column]]
                cells = {**cells, impute.column: column}
        failed: dict[int, tuple[str, str]] = {}
        if self._function and not places:
            return [], failed
        if self._function:
            cells, kept_rows = self._apply_function(self._function, cells, records_label)
            if len(kept_rows) < len(places):
                failed = dict.fromkeys(places, ("function", f"{self._function} left the record out"))
                places = [places[at] for at in kept_rows]
                for place in places:
                    del failed[place]
        columns = [cells[name] for name in self._config.feature_columns]
        breaks = _line_breaks(self._config.feature_columns, columns)
        rows = list(zip(*columns))
        if breaks:
            failed.update((places[at], ("line break", reason)) for at, reason in breaks.items())
            rows = [row for at, row in enumerate(rows) if at not in breaks]
        return rows, failed

    def _apply_function(
        self, function: PandasFunction, cells: Mapping[str, Cells], records_label: str
    ) -> tuple[dict[str, Cells], list[int]]:
        """Apply the user's function; returns the features as cells, and the rows that it kept."""
        nullable_cells = {name: [cell or None for cell in column] for name, column in cells.items()}
        kept_rows, columns = function(nullable_cells, records_label)
        features: dict[str, Cells] = {}
        for name, values in columns.items():
            if values is None:
                features[name] = [cells[name][at] for at in kept_rows]
                continue
            features[name] = [format_pandas_value(value) for value in values]
            not_encodable = next((cell for cell in features[name] if not is_encodable(cell)), None)
            if not_encodable is not None:
                raise FunctionError(
                    f"{function} made {name} {format_excerpt(not_encodable)} of {records_label}, which is not text: it "
                    "has half of a surrogate pair"
                )
        return features, kept_rows


def _line_breaks(names: Sequence[str], columns: Sequence[Cells]) -> dict[int, str]:
    """Find the rows with a line break in a feature: SageMaker splits at line breaks, also within quotes."""
    found: dict[int, str] = {}
    for name, column in zip(names, columns):
        together = "".join(column)
        if "\n" in together or "\r" in together:
            for at, cell in enumerate(column):
                if "\n" in cell or "\r" in cell:
                    found.setdefault(
                        at,
                        f"feature {name} is {format_excerpt(cell)}: a line break cannot be sent to the model",
                    )
    return found
