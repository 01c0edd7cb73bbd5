"""Builds the features of the records that passed: selects columns, imputes, applies the user's function."""

from __future__ import annotations

import csv
import io
from typing import Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import (
    PADDING,
    ByteCells,
    are_joined,
    find_cells_with,
    join_cells,
)
from batch_inference.jobs.common.cell_types import parse_cell
from batch_inference.jobs.common.errors import FunctionError
from batch_inference.jobs.common.json_reading import format_excerpt, is_encodable
from batch_inference.jobs.common.pandas_function import PandasFunction, format_pandas_value
from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.rejects import Reject
from batch_inference.jobs.preprocess.rules import Table

Cells = Sequence[str]
_SPECIAL = ',"\r\n'  # what a cell without quotes cannot hold


class FeatureBuilder:
    """Builds the features of each batch, as lines of CSV."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        source = config.input
        self._has_commas = source.format == "csv" and source.delimiter != ","  # within cells, without quotes
        self._boolean_features = [
            column.name
            for column in source.columns
            if column.type == "boolean" and column.name in config.feature_columns
        ]
        self._function: PandasFunction | None = None
        if config.function is not None:
            self._function = PandasFunction(
                config.function,
                "function",
                types={column.name: column.type for column in config.input.columns},
                wanted=config.feature_columns,
                may_drop_rows=True,
            )

    def build_features(
        self, table: Table, passed: np.ndarray, records_label: str
    ) -> tuple[bytes, np.ndarray, dict[int, Reject]]:
        """Build the features of the rows that passed: their lines, and the end of each in these.

        Also returns, by index in the table, the rows that fail here. `records_label` names the records in messages.
        Raises FunctionError if the user's function fails.
        """
        places = np.flatnonzero(passed)
        failed: dict[int, Reject] = {}
        if not len(places):
            return b"", places, failed
        kept = table.select(passed)
        cells, is_plain = self._replace_cells(kept)
        names = self._config.feature_columns
        if self._function is None:
            lines, ends, broken = _format_cells(
                [cells[name] for name in names], is_plain, names, self._has_commas
            )
        else:
            features, kept_rows = self._apply_function(self._function, cells, records_label)
            if len(kept_rows) < len(places):
                failed = dict.fromkeys(
                    places.tolist(), Reject("function", f"{self._function} left the record out")
                )
                places = places[kept_rows]
                for place in places.tolist():
                    del failed[place]
            rows = dict(enumerate(zip(*(features[name] for name in names))))
            broken = _find_line_breaks(names, rows)
            lines = _format_rows([row for at, row in rows.items() if at not in broken])
            ends = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == ord("\n")) + 1
        failed.update((int(places[at]), reject) for at, reject in broken.items())
        return lines, ends, failed

    def _replace_cells(self, table: Table) -> tuple[dict[str, ByteCells], np.ndarray]:
        """The cells of a table with values in place of empty ones, and booleans as 1 and 0.

        Also returns for each row whether all cells are plain then.
        """
        replaced: dict[str, list[tuple[np.ndarray, int, int]]] = {}
        is_plain = table.is_plain
        buffer = next(iter(table.cells.values())).buffer
        for impute in self._config.imputations:
            if impute.column not in table.cells:
                continue
            is_blank = table.find_blank(impute.column)
            if is_blank.any():
                start = len(buffer)
                buffer += impute.value.encode("utf-8")
                replaced[impute.column] = [(is_blank, start, len(buffer))]
                if any(character in impute.value for character in _SPECIAL):
                    is_plain = is_plain & ~is_blank
        for name in self._boolean_features:
            if name in table.cells:
                truth = {text: table.numbers[name] == number for text, number in (("0", 0), ("1", 1))}
                for is_blank, start, end in replaced.get(name, []):
                    text = "1" if parse_cell(buffer[start:end].decode("utf-8"), "boolean")[0] else "0"
                    truth[text] |= is_blank
                replaced[name] = [
                    (mask, len(buffer) + at, len(buffer) + at + 1) for at, mask in enumerate(truth.values())
                ]
                buffer += b"01"
        if not replaced:
            return table.cells, is_plain
        buffer += bytes(PADDING)
        cells = {}
        for name, column in table.cells.items():
            starts, ends = column.starts, column.ends
            for mask, start, end in replaced.get(name, ()):
                starts, ends = np.where(mask, start, starts), np.where(mask, end, ends)
            cells[name] = ByteCells(buffer, starts, ends)
        return cells, is_plain

    def _apply_function(
        self, function: PandasFunction, cells: Mapping[str, Cells], records_label: str
    ) -> tuple[dict[str, Cells], list[int]]:
        """Apply the user's function; returns the features as cells, and the rows that it kept."""
        nullable_cells = {name: [cell or None for cell in column] for name, column in cells.items()}
        kept_rows, columns = function(nullable_cells, records_label)
        features: dict[str, Cells] = {}
        for name, values in columns.items():
            if values is None:
                texts = list(cells[name])
                features[name] = [texts[at] for at in kept_rows]
                continue
            truth = ("1", "0") if name in self._boolean_features else ("true", "false")
            features[name] = [format_pandas_value(value, *truth) for value in values]
            not_encodable = next((cell for cell in features[name] if not is_encodable(cell)), None)
            if not_encodable is not None:
                raise FunctionError(
                    f"{function} made {name} {format_excerpt(not_encodable)} of {records_label}, which is not text: it "
                    "has half of a surrogate pair"
                )
        return features, kept_rows


def _format_cells(
    columns: Sequence[ByteCells], is_plain: np.ndarray, names: Sequence[str], has_commas: bool
) -> tuple[bytes, np.ndarray, dict[int, Reject]]:
    """Format columns of one buffer as lines of CSV; returns the lines, their ends, and the rows with a line break.

    The lines leave out the rows with a line break, which are by index, with the reject. `is_plain` tells which rows
    need no quotes; rows with commas do too, if the cells may have them.
    """
    buffer, count = columns[0].buffer, len(columns)
    starts = np.stack([column.starts for column in columns], axis=1)
    ends = np.stack([column.ends for column in columns], axis=1)
    if not has_commas and are_joined(buffer, starts, ends, ","):
        lines, line_ends = join_cells(buffer, starts[:, :1], ends[:, -1:], ",", "\n")
    else:
        lines, cell_ends = join_cells(buffer, starts, ends, ",", "\n")
        line_ends = cell_ends[count - 1 :: count]
        if has_commas:
            is_plain = is_plain.copy()
            is_plain[find_cells_with(",", lines, cell_ends) // count] = False
    if count == 1:
        is_plain = is_plain & (starts[:, 0] < ends[:, 0])
    special = np.flatnonzero(~is_plain)
    if not len(special):
        return lines.tobytes(), line_ends, {}
    rows = {row: tuple(column[row] for column in columns) for row in special.tolist()}
    broken = _find_line_breaks(names, rows)
    line_starts = np.concatenate(([0], line_ends[:-1]))
    lengths = line_ends - line_starts
    parts, text, start = [], lines.tobytes(), 0
    for row, cells in rows.items():
        line = b"" if row in broken else _format_rows([cells])
        parts += [text[start : line_starts[row]], line]
        start, lengths[row] = line_ends[row], len(line)
    parts.append(text[start:])
    return b"".join(parts), np.cumsum(lengths)[lengths > 0], broken


def _format_rows(rows: Sequence[Sequence[str]]) -> bytes:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue().encode("utf-8")


def _find_line_breaks(names: Sequence[str], rows: Mapping[int, Sequence[str]]) -> dict[int, Reject]:
    """Find the rows with a line break in a feature: SageMaker splits at line breaks, also within quotes."""
    found: dict[int, Reject] = {}
    for at, row in rows.items():
        for name, cell in zip(names, row):
            if "\n" in cell or "\r" in cell:
                shown = format_excerpt(cell)
                reason = f"feature {name} is {shown}: a line break cannot be sent to the model"
                found.setdefault(at, Reject("line break", shown, "a feature on one line", name, reason))
    return found
