"""Parquet as records: the columns that the pipeline names, each row spelled as CSV with the pipeline's delimiter.

The spelling loses nothing: floats in as few digits as give them back, strings in quotes where they need them.
NaN is a null, since that is how pandas writes one. Bytes are UTF-8, since that is how Hive, Impala and older Spark
write strings; what is not comes as lone surrogates, as from the text of other formats, and is rejected as they are.
"""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any, Iterator, Optional

from include.jobs.arrow import require_arrow
from include.jobs.batch import Batch
from include.jobs.config import Input
from include.jobs.csv_reading import csv_lines
from include.jobs.errors import InputError
from include.jobs.json_reading import Number
from include.jobs.json_records import json_cell

Cell = Optional[str]

_SAMPLE = 1_000
# What Arrow raises for a value that Python has none for, such as a date behind the year 9999.
_NO_VALUES = (ValueError, OverflowError, TypeError)
_NO_NUMBERS = {math.inf: "Infinity", -math.inf: "-Infinity"}


class ParquetRecords:
    """Reads one file's rows in batches.

    Attributes:
        names: which of the pipeline's columns the file has.
    """

    def __init__(self, path: Path, source: Input, uri: str) -> None:
        arrow = require_arrow("input.format is parquet")
        try:
            self._file = arrow.parquet.ParquetFile(path)
        except arrow.ArrowInvalid as error:
            raise InputError(f"{uri} is not a Parquet file: {error}") from error
        present = set(self._file.schema_arrow.names)
        missing = [
            column.name for column in source.columns if not column.optional and column.name not in present
        ]
        if missing:
            raise InputError(f"{uri} has no column {', '.join(missing)}; it has {', '.join(sorted(present))}")
        twice = [name for name in source.names if self._file.schema_arrow.names.count(name) > 1]
        if twice:
            raise InputError(
                f"{uri} has column {', '.join(twice)} twice; it has {', '.join(self._file.schema_arrow.names)}"
            )
        self.names = tuple(name for name in source.names if name in present)
        self._uri = uri
        self._arrow = arrow
        self._delimiter = source.delimiter
        self._kinds = [source.column(name).type for name in self.names]

    def batches(self, size: int = 32_768) -> Iterator[Batch]:
        """All rows; raises InputError, naming the object, and row and column where they are known."""
        first = 1
        for part in self._parts(size):
            if part.num_rows:
                columns = [part.column(part.schema.get_field_index(name)) for name in self.names]
                read = (self._read(*each, first) for each in zip(self.names, columns, self._kinds))
                cells = list(read)
                texts = [f"{line}\n" for line in csv_lines(zip(*cells), self._delimiter)]
                rows = list(map(list, zip(*map(_without_nulls, cells))))
                yield Batch(rows, texts, first, list(range(first, first + len(rows))))
                first += len(rows)

    def _parts(self, size: int) -> Iterator[Any]:
        try:
            yield from self._file.iter_batches(batch_size=size, columns=list(self.names))
        except (self._arrow.ArrowInvalid, self._arrow.ArrowNotImplementedError) as error:
            raise InputError(f"{self._uri} cannot be read to its end: {error}") from error

    def _read(self, name: str, column: Any, kind: str, first: int) -> list[Cell]:
        try:
            cells = _cells(column, whole=kind == "integer")
        except _NO_VALUES as error:
            raise InputError(
                f"{self._uri}, record {first + _unreadable(column):,}: column {name}, which Parquet calls "
                f"{column.type}, has a value that cannot be read: {error}"
            ) from error
        # A number that is written as an empty text is missing.
        return cells if kind == "string" else [cell or None for cell in cells]

    def text_bytes(self) -> int:
        """About how many bytes the file's records take as text, judged by the first of them."""
        rows: int = self._file.metadata.num_rows
        for batch in self.batches(_SAMPLE):
            sample = sum(len(text.encode("utf-8", "surrogateescape")) for text in batch.texts)
            return max(1, round(sample / len(batch.texts) * rows))
        return 0


def _without_nulls(cells: list[Cell]) -> list[str]:
    """The cells as rules and features see them, to whom an empty text is a null."""
    return [cell or "" for cell in cells]


def _cells(column: Any, whole: bool) -> list[Cell]:
    """The text of each value, None for null."""
    import pyarrow.types as kinds

    if kinds.is_floating(column.type):
        if whole:  # pandas turns a column of integers into floats as soon as one is missing
            return [_whole(value) for value in column.to_pylist()]
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
        except UnicodeDecodeError:  # some of it is not what it says; bytes of the same layout are always read
            column = column.view("binary" if kinds.is_string(column.type) else "large_binary")
    return [None if value is None else _text(value) for value in column.to_pylist()]


def _unreadable(column: Any) -> int:
    """The place of the first value that Python has none for."""

    def fails(value: Any) -> bool:
        try:
            value.as_py()
        except _NO_VALUES:
            return True
        return False

    return next((at for at, value in enumerate(column) if fails(value)), 0)


def _whole(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return None
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def _text(value: Any) -> str:
    return json_cell(_json(value))


def _json(value: Any) -> Any:
    """A value as JSON has it: dates are texts, as in a cell of their own; so is an infinite number, as Spark's to_json
    writes it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _NO_NUMBERS.get(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, Decimal):
        return Number(value)
    if isinstance(value, dict):
        return {key: _json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):  # a map is a list of pairs
        return [_json(one) for one in value]
    return str(value)
