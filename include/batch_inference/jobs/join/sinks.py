"""Writes joined rows as CSV, JSON Lines or Parquet.

Text formats keep the original text of the records; Parquet has one schema for all shards, given by the specification.
"""

from __future__ import annotations

import math
import re
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

import numpy as np

from batch_inference.jobs.common.arrow import find_arrow, read_numbers, require_arrow
from batch_inference.jobs.common.blocks import Block
from batch_inference.jobs.common.cell_types import (
    is_number_type,
    is_typed,
    parse_cell,
    parse_decimal_type,
    to_decimal_text,
)
from batch_inference.jobs.common.csv_reading import format_csv_lines
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.json_reading import Cell, decode_record, dumps
from batch_inference.jobs.config.join_spec import JoinSpec, OutputColumn
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock

# Size of a row group in Arrow's memory: large enough for efficient reads, small enough to buffer.
ROW_GROUP_BYTES = 8 << 20
MAX_DICTIONARY_VALUES = 10_000
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class Sink:
    """Writes joined rows to one file; `block_bytes` is the preferred size of a block of records."""

    block_bytes = 2 << 20

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        self.path = path
        self.spec = spec

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> Any:
        """Prepare the output of these records and predictions; may run on any thread, out of order."""
        raise NotImplementedError

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        """Prepare the output of rows given as cells by output column, None for null."""
        raise NotImplementedError

    def write(self, prepared: Any) -> None:
        """Write a prepared block; called in the order of the records."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; also called when the join has failed."""
        raise NotImplementedError


class BytesSink(Sink):
    """A sink whose prepared blocks are bytes."""

    block_bytes = 1 << 20

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self.file = path.open("wb")

    def write(self, prepared: Any) -> None:
        self.file.write(prepared)

    def close(self) -> None:
        self.file.close()


class CsvSink(BytesSink):
    """Writes a header, then the bytes of each record followed by its predictions."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._delimiter = spec.delimiter.encode()
        self._append_numbers = create_number_appender(self._delimiter)
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
        if keeps_record_bytes and not missing and self._append_numbers is not None:
            numbers = predictions.get_number_block(self._append_numbers.arrow)
            if numbers is not None:
                return self._append_numbers(records.block, numbers)
        columns = None if self._echoes else predictions.read_float_bytes()
        if columns is None or not all(map(_are_all_finite, columns)):
            columns = [
                self._encode_lines(zip(texts))
                if field.type not in ("integer", "float")
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
        self._keys = [dumps(column.name).encode() for column in spec.prediction_columns]

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> bytes:
        texts = predictions.read_texts()
        prediction_members = [
            _encode_members(column, values) for column, values in zip(self.spec.prediction_columns, texts)
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
            _encode_members(kept.output_column, cells.get(kept.record_column, absent))
            for kept in self.spec.published_columns
        ]
        return _encode_objects([*members, *prediction_members])

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> bytes:
        columns = self.spec.output_columns
        return _encode_objects([_encode_members(column, cells[column.name]) for column in columns])

    def _select_members(self, line: bytes) -> list[str]:
        """Select the published members of a JSON record, values as written."""
        names = {kept.record_column: kept.output_column.name for kept in self.spec.published_columns}
        # A member that is not a column is dropped if a published column has its name.
        left_out = {column.name for column in (*self.spec.columns, *self.spec.output_columns)}
        return [
            f"{dumps(names.get(name, name))}: {dumps(value)}"
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


class ParquetSink(Sink):
    """Writes Parquet; strings stay exact, an empty cell is a null.

    A thread encodes one row group while the blocks of the next one are prepared.
    """

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        # Without pyarrow, the second one raises the error.
        pyarrow = self._arrow = find_arrow() or require_arrow("join.format is parquet")
        self._types = {
            column.type: get_arrow_type(pyarrow, column.type)
            for column in (*spec.columns, *spec.output_columns)
        }
        fields = [(column.name, self._types[column.type]) for column in spec.output_columns]
        self._schema = pyarrow.schema(fields)
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._thread = ThreadPoolExecutor(1)
        # The import of pyarrow.parquet takes as long as the first blocks.
        self._writing: Future[Any] | None = self._thread.submit(require_arrow, "join.format is parquet")

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> Any:
        table = None
        if self.spec.records_format == "csv":
            published = self.spec.published_columns
            types = {kept.record_column: self._types[kept.output_column.type] for kept in published}
            table = records.read_arrow_table(self._arrow, types)
        if table is None:
            table = self._build_cell_table(records)
        arrays = [
            table.column(kept.record_column)
            if kept.record_column in records.columns
            else self._arrow.nulls(records.record_count, self._types[kept.output_column.type])
            for kept in self.spec.published_columns
        ]
        prediction_arrays = predictions.read_arrow_columns(self._arrow)
        if prediction_arrays is None:
            columns = zip(self.spec.prediction_columns, predictions.read_texts())
            prediction_arrays = [self._build_array(texts, column.type) for column, texts in columns]
        # Not pyarrow.table(), which imports pandas to check for a DataFrame.
        return self._arrow.Table.from_arrays([*arrays, *prediction_arrays], schema=self._schema)

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        columns = self.spec.output_columns
        arrays = [self._build_array(cells[column.name], column.type) for column in columns]
        return self._arrow.Table.from_arrays(arrays, schema=self._schema)

    def write(self, prepared: Any) -> None:
        self._waiting.append(prepared)
        self._waiting_bytes += prepared.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._submit_row_group()

    def close(self) -> None:
        with self._thread:
            self._submit_row_group()
            self._await_row_group()
        self._writer.close()

    def _submit_row_group(self) -> None:
        self._await_row_group()
        self._writing = self._thread.submit(self._write_row_group, self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def _await_row_group(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _build_cell_table(self, records: RecordBlock) -> Any:
        kinds = {column.name: column.type for column in self.spec.columns}
        arrays = []
        name = ""
        try:
            for name, cells in records.read_cells().items():
                arrays.append(self._build_array(cells, kinds[name]))
        except (ValueError, OverflowError) as error:
            raise JoinError(
                f"shard {records.shard}, records from {records.first_record:,} on: "
                f"column {name} is not {kinds[name]} throughout: {error}"
            ) from error
        return self._arrow.Table.from_arrays(arrays, names=list(records.columns))

    def _build_array(self, cells: Sequence[Cell], kind: str) -> Any:
        values: Sequence[Any] = cells
        if kind in ("integer", "float"):
            convert: Callable[[str], float] = int if kind == "integer" else float
            values = [convert(cell) if cell and cell.strip() else None for cell in cells]
        elif is_typed(kind):
            values = [_parse_value(cell, kind) for cell in cells]
        return self._arrow.array(values, self._types[kind])

    def _write_row_group(self, tables: Sequence[Any]) -> None:
        table = self._arrow.concat_tables(tables) if tables else self._schema.empty_table()
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(
                self.path, self._schema, use_dictionary=_find_repetitive_columns(table), compression="snappy"
            )
        if tables:
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))


def get_arrow_type(arrow: Any, column_type: str) -> Any:
    """Arrow's type of a column of the output."""
    size = parse_decimal_type(column_type)
    if size is not None:
        return arrow.decimal128(size.precision, size.scale)
    return {
        "string": arrow.string(),
        "json": arrow.string(),
        "integer": arrow.int64(),
        "float": arrow.float64(),
        "boolean": arrow.bool_(),
        "date": arrow.date32(),
        "timestamp": arrow.timestamp("us"),
        "timestamptz": arrow.timestamp("us", tz="UTC"),
    }[column_type]


def _parse_value(cell: Cell, kind: str) -> Any:
    """The value of a cell for Arrow. Raises ValueError if it is not of this type."""
    value, allowed = parse_cell(cell or "", kind)
    if allowed:
        raise ValueError(f"found {cell!r}, allowed is {allowed}")
    return value


def create_number_appender(delimiter: bytes) -> NumberAppender | None:
    """Create a NumberAppender, or None if pyarrow is missing or too old."""
    arrow = find_arrow()
    if arrow is None:
        return None
    import pyarrow.compute  # its import takes long, and nothing else needs it

    has_join = hasattr(pyarrow.compute, "binary_join_element_wise")
    return NumberAppender(arrow, delimiter) if has_join else None


class NumberAppender:
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


def _encode_members(column: OutputColumn, cells: Iterable[Cell]) -> list[str]:
    key = dumps(column.name)
    return [f"{key}: {_encode_cell(cell, column.type)}" for cell in cells]


def _encode_objects(members: Sequence[Sequence[str]]) -> bytes:
    return "".join(["{" + ", ".join(row) + "}\n" for row in zip(*members)]).encode("utf-8")


def _encode_cell(cell: Cell, kind: str) -> str:
    if cell is None:
        return "null"
    if kind == "json":
        return cell
    return _encode_number(cell, kind) if is_number_type(kind) else _encode_text(cell, kind)


def _encode_text(cell: str, kind: str) -> str:
    if kind == "string":
        return dumps(cell)
    if not cell.strip(" \t"):
        return "null"
    return ("true" if _parse_value(cell, kind) else "false") if kind == "boolean" else dumps(cell)


def _encode_number(cell: str, kind: str) -> str:
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    cell = cell.strip()
    if not cell:
        return "null"
    if kind not in ("integer", "float"):
        return to_decimal_text(Decimal(cell))
    return str(int(cell)) if cell.lstrip("+-").isdigit() else repr(float(cell))


def _find_repetitive_columns(table: Any) -> list[str]:
    """Find the columns worth a dictionary; for others encoding takes three times as long and the file is larger."""
    first = table.slice(0, 4 * MAX_DICTIONARY_VALUES)
    return [name for name in first.column_names if _count_values(first.column(name)) < len(first) // 4]


def _count_values(column: Any) -> int:
    """Count the distinct values of a column, with null as one."""
    if str(column.type) in ("int64", "double"):
        return len(np.unique(read_numbers(column)))
    return len(set(column.to_pylist()))


SINKS: dict[str, type[Sink]] = {"csv": CsvSink, "jsonlines": JsonLinesSink, "parquet": ParquetSink}
