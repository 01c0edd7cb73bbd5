"""Parquet as records: the columns that the pipeline names, each row spelled as CSV.

The spelling loses nothing: floats in as few digits as give them back, strings in quotes where they need them.
NaN is a null, since that is how pandas writes one.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any, Iterator, Sequence

from include.jobs.arrow import require_arrow
from include.jobs.batch import Batch
from include.jobs.config import Input
from include.jobs.errors import InputError
from include.jobs.json_records import json_cell

_SAMPLE = 1_000


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
        self.names = tuple(name for name in source.names if name in present)
        self._whole = [source.column(name).type == "integer" for name in self.names]

    def batches(self, size: int = 32_768) -> Iterator[Batch]:
        first = 1
        for part in self._file.iter_batches(batch_size=size, columns=list(self.names)):
            if part.num_rows:
                columns = [part.column(part.schema.get_field_index(name)) for name in self.names]
                rows = list(map(list, zip(*map(_cells, columns, self._whole))))
                yield Batch(rows, _texts(rows), first, list(range(first, first + len(rows))))
                first += len(rows)

    def text_bytes(self) -> int:
        """About how many bytes the file's records take as text, judged by the first of them."""
        rows: int = self._file.metadata.num_rows
        for batch in self.batches(_SAMPLE):
            sample = sum(len(text.encode("utf-8")) for text in batch.texts)
            return max(1, round(sample / len(batch.texts) * rows))
        return 0


def _texts(rows: Sequence[Sequence[str]]) -> list[str]:
    text = io.StringIO()
    writer = csv.writer(
        text, lineterminator="\r\n"
    )  # a line end that makes the csv module quote both its characters
    texts = []
    for row in rows:
        writer.writerow(row)
        texts.append(text.getvalue()[:-2] + "\n")
        text.seek(0)
        text.truncate()
    return texts


def _cells(column: Any, whole: bool) -> list[str]:
    import pyarrow.types as kinds

    if kinds.is_floating(column.type):
        if whole:  # pandas turns a column of integers into floats as soon as one is missing
            return [_whole(value) for value in column.to_pylist()]
        narrow = not kinds.is_float64(column.type)
        values = column.to_numpy(zero_copy_only=False) if narrow else column.to_pylist()
        return ["" if value is None or math.isnan(value) else str(value) for value in values]
    if kinds.is_integer(column.type) or kinds.is_string(column.type):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    return [_text(value) for value in column.to_pylist()]


def _whole(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, (bool, list, dict)) or value is None:
        return json_cell(value)
    return str(value)
