"""Reads Parquet rows as CSV records: the columns of the pipeline, with its delimiter.

The conversion is lossless: floats in the fewest digits that round-trip, strings quoted where needed. NaN is a null,
since pandas writes nulls so. Binary columns are read as UTF-8, since Hive, Impala and older Spark write strings so;
invalid bytes become lone surrogates, as for other formats, and the record is rejected.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Iterator

import numpy as np

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.cell_types import is_time_type, to_decimal_text
from batch_inference.jobs.common.csv_reading import format_csv_lines
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.common.json_reading import Cell, JsonNumber, to_cell
from batch_inference.jobs.config.preprocess_config import InputConfig
from batch_inference.jobs.preprocess.objects import InputObject
from batch_inference.jobs.preprocess.readers.batch import ParsedRecords

_SAMPLE_ROWS = 1_000
# What Arrow raises for a value that Python cannot represent, such as a date after the year 9999.
_CONVERSION_ERRORS = (ValueError, OverflowError, TypeError)
_INFINITY_TEXTS = {math.inf: "Infinity", -math.inf: "-Infinity"}


class ParquetRecordReader:
    """Reads one file's rows in batches; `column_names` are the columns of the pipeline that it has."""

    def __init__(self, input_object: InputObject, input_config: InputConfig) -> None:
        arrow, uri = require_arrow("input.format is parquet"), input_object.uri
        try:
            self._file = arrow.parquet.ParquetFile(input_object.path)
        except arrow.ArrowInvalid as error:
            raise InputError(f"{uri} is not a Parquet file: {error}") from error
        names = self._file.schema_arrow.names
        if missing := input_config.find_missing(names):
            found = ", ".join(sorted(set(names)))
            raise InputError(f"{uri} has no column {', '.join(missing)}; it has {found}")
        twice = [name for name in input_config.column_names if names.count(name) > 1]
        if twice:
            raise InputError(f"{uri} has column {', '.join(twice)} twice; it has {', '.join(names)}")
        self.column_names = tuple(name for name in input_config.column_names if name in names)
        self._uri = uri
        self._arrow = arrow
        self._delimiter = input_config.delimiter
        self._kinds = [input_config.get_column(name).type for name in self.column_names]

    def iter_parsed(self, batch_rows: int = 32_768) -> Iterator[ParsedRecords]:
        """Read all rows. Raises InputError that names the object, and record and column where known."""
        first = 1
        for part in self._parts(batch_rows):
            if part.num_rows:
                columns = [part.column(part.schema.get_field_index(name)) for name in self.column_names]
                cells = [self._read(*each, first) for each in zip(self.column_names, columns, self._kinds)]
                texts = [f"{line}\n" for line in format_csv_lines(zip(*cells), self._delimiter)]
                rows = [[cell or "" for cell in row] for row in zip(*cells)]  # here an empty string is a null
                yield ParsedRecords(rows, texts, first, list(range(first, first + len(rows))))
                first += len(rows)

    def _parts(self, size: int) -> Iterator[Any]:
        try:
            yield from self._file.iter_batches(batch_size=size, columns=list(self.column_names))
        except (self._arrow.ArrowInvalid, self._arrow.ArrowNotImplementedError) as error:
            raise InputError(f"{self._uri} cannot be read to its end: {error}") from error

    def _read(self, name: str, column: Any, kind: str, first: int) -> list[Cell]:
        try:
            cells = _format_times(column) if is_time_type(kind) else None
            if cells is None:
                cells = _cells(column, whole=kind in ("integer", "boolean"))
        except _CONVERSION_ERRORS as error:
            raise InputError(
                f"{self._uri}, record {first + _find_unreadable_value(column):,}: column {name}, of Parquet type "
                f"{column.type}, has a value that cannot be read: {error}"
            ) from error
        # An empty string in a numeric column is a null.
        return cells if kind == "string" else [cell or None for cell in cells]

    def estimate_text_bytes(self) -> int:
        """Estimate how many bytes the records of the file take as text, from the first of them."""
        rows: int = self._file.metadata.num_rows
        for parsed in self.iter_parsed(_SAMPLE_ROWS):
            sample = sum(len(text.encode("utf-8", "surrogateescape")) for text in parsed.texts)
            return max(1, round(sample / len(parsed.texts) * rows))
        return 0


def _format_times(column: Any) -> list[Cell] | None:
    """The ISO text of dates and timestamps, with Z if they have a zone; None if the column has others.

    Nanoseconds are kept if they are not zero, so that the record is rejected.
    """
    import pyarrow
    import pyarrow.types as kinds

    if kinds.is_dictionary(column.type):
        return _format_times(column.dictionary_decode())
    if kinds.is_date32(column.type):
        unit, integers = "D", column.view(pyarrow.int32())
    elif kinds.is_date64(column.type):
        unit, integers = "ms", column.view(pyarrow.int64())
    elif kinds.is_timestamp(column.type):
        unit, integers = column.type.unit, column.view(pyarrow.int64())
    else:
        return None
    is_null = np.array([value is None for value in integers.to_pylist()], dtype=bool)
    numbers = np.array([value or 0 for value in integers.to_pylist()], dtype=np.int64)
    times = numbers.astype(f"datetime64[{unit}]")
    if kinds.is_date(column.type):
        times = times.astype("datetime64[D]")
    texts = np.datetime_as_string(times)
    if unit == "ns":
        is_exact = numbers % 1_000 == 0
        texts[is_exact] = np.datetime_as_string(times[is_exact].astype("datetime64[us]"))
    zone = "Z" if kinds.is_timestamp(column.type) and column.type.tz else ""
    return [None if null else text + zone for text, null in zip(texts.tolist(), is_null.tolist())]


def _cells(column: Any, whole: bool) -> list[Cell]:
    """The text of each value, None for null."""
    import pyarrow.types as kinds

    if kinds.is_floating(column.type):
        if whole:  # pandas turns a column of integers into floats as soon as one is missing
            return [_format_whole_number(value) for value in column.to_pylist()]
        narrow = not kinds.is_float64(column.type)
        values = column.to_numpy(zero_copy_only=False) if narrow else column.to_pylist()
        return [None if value is None or math.isnan(value) else str(value) for value in values]
    if kinds.is_dictionary(column.type):
        return _cells(column.dictionary_decode(), whole)
    if kinds.is_integer(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        try:
            return list(column.to_pylist())
        except UnicodeDecodeError:  # not all of it is UTF-8; the same buffers can be read as bytes
            column = column.view("binary" if kinds.is_string(column.type) else "large_binary")
    return [to_cell(_to_json_value(value)) for value in column.to_pylist()]


def _find_unreadable_value(column: Any) -> int:
    """Find the index of the first value that Python cannot represent."""

    def fails(value: Any) -> bool:
        try:
            value.as_py()
        except _CONVERSION_ERRORS:
            return True
        return False

    return next((at for at, value in enumerate(column) if fails(value)), 0)


def _format_whole_number(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return None
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def _to_json_value(value: Any) -> Any:
    """Convert a value for JSON: dates become strings, as in cells; so do infinite numbers, as in Spark's to_json."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _INFINITY_TEXTS.get(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, Decimal):
        return JsonNumber(to_decimal_text(value))
    if isinstance(value, dict):
        return {key: _to_json_value(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):  # a map is a list of pairs
        return [_to_json_value(one) for one in value]
    return str(value)
