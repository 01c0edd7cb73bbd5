"""The records of one input object, batch by batch, each batch with the layout that holds for it."""

from __future__ import annotations

from typing import Iterator

from include.jobs.batch import Batch, batches
from include.jobs.config import Input
from include.jobs.csv_records import CsvRecords
from include.jobs.errors import InputError
from include.jobs.json_records import JsonRecords
from include.jobs.layout import Layout, first_layout, header_layout
from include.jobs.objects import InputObject, open_text, reading, stored_text_bytes
from include.jobs.parquet_records import ParquetRecords


def read_batches(one: InputObject, source: Input) -> Iterator[tuple[Layout, Batch]]:
    """The object's records; raises InputError, naming the object, when it is not what the pipeline says."""
    if one.size:
        with reading(one, source):
            yield from _READERS[source.format](one, source)


def text_bytes(one: InputObject, source: Input) -> int:
    """About how many bytes the object's records take as text."""
    if not one.size:
        return 0
    with reading(one, source):
        if source.format == "parquet":
            return ParquetRecords(one.path, source, one.source).text_bytes()
        return stored_text_bytes(one, source)


def _read_csv(one: InputObject, source: Input) -> Iterator[tuple[Layout, Batch]]:
    layout = first_layout(source)
    with open_text(one, source) as lines:
        records = CsvRecords(lines, source.delimiter, source.escape)
        if source.header:
            header = records.take_header()
            if header is None:
                return
            layout = header_layout(header, source, one.source)
        for batch in batches(records.take):
            if layout.names is None:
                readable = [row for index, row in enumerate(batch.rows) if index not in batch.broken]
                layout = layout.settled_by(readable, source)
            yield layout, batch


def _read_json_lines(one: InputObject, source: Input) -> Iterator[tuple[Layout, Batch]]:
    layout = Layout(source.names)
    with open_text(one, source) as lines:
        records = JsonRecords(lines, source.names)
        for batch in batches(records.take):
            yield layout, batch
    missing = [
        column.name for column in source.columns if not column.optional and column.name in records.absent
    ]
    if missing and records.members:
        raise InputError(
            f"{one.source}: no record has {', '.join(missing)}; they have {', '.join(sorted(records.members))}. "
            "Correct input.columns, or mark columns that an object may leave out as optional"
        )


def _read_parquet(one: InputObject, source: Input) -> Iterator[tuple[Layout, Batch]]:
    records = ParquetRecords(one.path, source, one.source)
    layout = Layout(records.names)
    for batch in records.batches():
        yield layout, batch


_READERS = {"csv": _read_csv, "jsonlines": _read_json_lines, "parquet": _read_parquet}
