"""Writes joined rows as CSV or JSON Lines, with the original text of the records; SINKS has all output formats."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.arrow import find_arrow
from batch_inference.jobs.common.blocks import Block
from batch_inference.jobs.common.csv_reading import format_csv_lines
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.json_reading import Cell, decode_record, dumps
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock
from batch_inference.jobs.join.sinks.parquet_sink import ParquetSink
from batch_inference.jobs.join.sinks.sink import BytesSink, Sink

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class CsvSink(BytesSink):
    """Writes a header, then the bytes of each record followed by its predictions."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._delimiter = spec.delimiter.encode()
        self._splice = create_line_splicer(self._delimiter)
        self._echoes = any(field.is_echo for field in spec.prediction_fields)
        self.file.write(self._encode_lines([[column.name for column in spec.output_columns]])[0] + b"\n")

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> Any:
        names = [column.name for column in self.spec.columns]
        # Records that lack the last columns keep their bytes too, followed by empty cells.
        missing = len(names) - len(records.columns)
        keeps_record_bytes = (
            self.spec.records_format == "csv"
            and self.spec.has_whole_records
            and list(records.columns) == names[: len(records.columns)]
        )
        if keeps_record_bytes and not missing and self._splice is not None:
            numbers = predictions.get_number_block(self._splice.arrow)
            if numbers is not None:
                return self._splice(records.block, numbers)
        columns = None if self._echoes else predictions.read_float_bytes()
        if columns is None or not all(map(_are_all_finite, columns)):
            columns = [
                self._encode_lines(zip(texts))
                if field.type in ("string", "json")
                else "\n".join(texts).encode().split(b"\n")
                for field, texts in zip(self.spec.prediction_columns, predictions.read_texts())
            ]
        if keeps_record_bytes:
            lines = records.split_lines()
        else:
            cells = records.read_cells()
            absent: tuple[Cell, ...] = (None,) * records.record_count
            lines = self._encode_lines(
                zip(*(cells.get(kept.record_column, absent) for kept in self.spec.published_columns))
            )
            missing = 0
        gap = self._delimiter * (missing + 1)
        prediction_lines = columns[0] if len(columns) == 1 else list(map(self._delimiter.join, zip(*columns)))
        if not len(lines) == len(prediction_lines) == records.record_count:
            raise JoinError(
                f"shard {records.shard}: {len(lines)} records and {len(prediction_lines)} predictions in one block"
            )
        return b"\n".join([*map(gap.join, zip(lines, prediction_lines)), b""])

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        return b"".join([line + b"\n" for line in self._encode_lines(zip(*cells.values()))])

    def _encode_lines(self, rows: Iterable[Sequence[Cell]]) -> list[bytes]:
        return [line.encode("utf-8") for line in format_csv_lines(rows, self.spec.delimiter)]


class JsonLinesSink(BytesSink):
    """Writes one JSON object for each row; numbers as written wherever JSON allows it.

    JSON records keep their text, including members that the pipeline does not name, and get the predictions as last
    members.
    """

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._added = {column.name for column in spec.prediction_columns}
        self._keys = [_encode_string(column.name).encode() for column in spec.prediction_columns]

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> bytes:
        texts = predictions.read_texts()
        prediction_members = [
            _encode_members(column.name, [_encode_text(value, column.type) for value in values])
            for column, values in zip(self.spec.prediction_columns, texts)
        ]
        if self.spec.records_format == "jsonlines" and self.spec.has_unchanged_records:
            tails = [", ".join(row).encode("utf-8") for row in zip(*prediction_members)]
            lines = [self._extend_line(line, tail) for line, tail in zip(records.split_lines(), tails)]
            return b"".join(lines)
        if self.spec.records_format == "jsonlines":
            rows = [
                ", ".join([*self._select_members(line), *row])
                for line, row in zip(records.split_lines(), zip(*prediction_members))
            ]
            return "".join(f"{{{row}}}\n" for row in rows).encode("utf-8")
        cells = records.read_cells()
        absent: tuple[Cell, ...] = (None,) * records.record_count
        members = [
            _encode_members(
                kept.output_column.name,
                [
                    _encode_cell(cell, kept.output_column.type)
                    for cell in cells.get(kept.record_column, absent)
                ],
            )
            for kept in self.spec.published_columns
        ]
        return _encode_objects([*members, *prediction_members])

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> bytes:
        return _encode_objects(
            [
                _encode_members(column.name, [_encode_cell(cell, column.type) for cell in cells[column.name]])
                for column in self.spec.output_columns
            ]
        )

    def _select_members(self, line: bytes) -> list[str]:
        """Select the published members of a JSON record, values as written."""
        names = {kept.record_column: kept.output_column.name for kept in self.spec.published_columns}
        # A member that is not a column is dropped if a published column has its name.
        left_out = {column.name for column in (*self.spec.columns, *self.spec.output_columns)}
        return [
            f"{_encode_string(names.get(name, name))}: {dumps(value)}"
            for name, value in decode_record(line.decode("utf-8")).items()
            if name in names or (self.spec.include_extra_members and name not in left_out)
        ]

    def _extend_line(self, line: bytes, tail: bytes) -> bytes:
        line = line.rstrip()
        # The record may have a member of that name, perhaps written with escapes: the prediction replaces it.
        if b"\\" in line or any(key in line for key in self._keys):
            record = decode_record(line.decode("utf-8"))
            if not self._added.isdisjoint(record):
                kept = {name: value for name, value in record.items() if name not in self._added}
                line = dumps(kept).encode("utf-8")
        body = line[:-1].rstrip()
        return body + (b"" if body.endswith(b"{") and not body[:-1].strip() else b", ") + tail + b"}\n"


def create_line_splicer(delimiter: bytes) -> LineSplicer | None:
    """Create a LineSplicer, or None if pyarrow is missing or too old."""
    arrow = find_arrow()
    return (
        LineSplicer(arrow, delimiter)
        if arrow and hasattr(arrow.compute, "binary_join_element_wise")
        else None
    )


class LineSplicer:
    """Appends a delimiter and a number to each record of a block, with Arrow: no Python object for each line."""

    def __init__(self, arrow: Any, delimiter: bytes) -> None:
        self.arrow = arrow
        self._delimiter = delimiter[0]

    def __call__(self, records: Block, numbers: Block) -> Any:
        """Return the joined lines as a buffer of bytes; both blocks have the same number of lines."""
        data = np.frombuffer(records.data, dtype=np.uint8).copy()
        data[records.ends - 1] = self._delimiter  # replaces the line feed
        nothing = self._array(np.zeros(records.record_count, dtype=np.int64), b"")
        # A scalar separator would import pandas, so an array is used: the number is the separator between the record
        # and an empty text.
        joined = self.arrow.compute.binary_join_element_wise(
            self._array(records.ends, data), nothing, self._array(numbers.ends, numbers.data)
        )
        return joined.buffers()[2].slice(0, len(records.data) + len(numbers.data))

    def _array(self, ends: np.ndarray, data: Any) -> Any:
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        offsets[1:] = ends
        buffers = [None, self.arrow.py_buffer(offsets), self.arrow.py_buffer(data)]
        return self.arrow.Array.from_buffers(self.arrow.binary(), len(ends), buffers)


def _are_all_finite(numbers: list[bytes]) -> bool:
    """Whether all are finite. Their sum is faster than a check of each; if it overflows, they are parsed one by one."""
    try:
        return math.isfinite(sum(map(float, numbers)))
    except ValueError:
        return False


def _encode_members(name: str, values: Iterable[str]) -> list[str]:
    key = _encode_string(name)
    return [f"{key}: {value}" for value in values]


def _encode_objects(members: Sequence[Sequence[str]]) -> bytes:
    return "".join(["{" + ", ".join(row) + "}\n" for row in zip(*members)]).encode("utf-8")


def _encode_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _encode_cell(cell: Cell, kind: str) -> str:
    return "null" if cell is None else _encode_text(cell, kind)


def _encode_text(text: str, kind: str) -> str:
    if kind == "json":
        return text
    return _encode_string(text) if kind == "string" else _encode_number(text)


def _encode_number(cell: str) -> str:
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    cell = cell.strip()
    if not cell:
        return "null"
    return str(int(cell)) if cell.lstrip("+-").isdigit() else repr(float(cell))


SINKS: dict[str, type[Sink]] = {"csv": CsvSink, "jsonlines": JsonLinesSink, "parquet": ParquetSink}
