"""Reads the records of one input object in batches, each with the columns of the object."""

from __future__ import annotations

from typing import Iterator

from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import InputConfig
from batch_inference.jobs.preprocess.object_columns import ObjectColumns, get_initial_columns, parse_header
from batch_inference.jobs.preprocess.objects import (
    InputObject,
    estimate_file_text_bytes,
    open_text,
    translate_read_errors,
)
from batch_inference.jobs.preprocess.readers.batch import Batch, iter_batches
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader
from batch_inference.jobs.preprocess.readers.json_records import JsonRecordReader
from batch_inference.jobs.preprocess.readers.parquet_records import ParquetRecordReader


def read_batches(
    input_object: InputObject, input_config: InputConfig
) -> Iterator[tuple[ObjectColumns, Batch]]:
    """Read the records of an object. Raises InputError that names the object if it is not as configured."""
    if input_object.stored_bytes:
        with translate_read_errors(input_object, input_config):
            yield from _READERS[input_config.format](input_object, input_config)


def estimate_text_bytes(input_object: InputObject, input_config: InputConfig) -> int:
    """Estimate how many bytes the records of an object take as text."""
    if not input_object.stored_bytes:
        return 0
    with translate_read_errors(input_object, input_config):
        if input_config.format == "parquet":
            return ParquetRecordReader(
                input_object.path, input_config, input_object.uri
            ).estimate_text_bytes()
        return estimate_file_text_bytes(input_object, input_config)


def _read_csv(input_object: InputObject, input_config: InputConfig) -> Iterator[tuple[ObjectColumns, Batch]]:
    object_columns = get_initial_columns(input_config)
    with open_text(input_object, input_config) as lines:
        records = CsvRecordReader(lines, input_config.delimiter, input_config.escape)
        if input_config.header:
            header = records.read_header()
            if header is None:
                return
            object_columns = parse_header(header, input_config, input_object.uri)
        for batch in iter_batches(records.read_batch):
            if object_columns.names is None:
                readable = [row for index, row in enumerate(batch.rows) if index not in batch.malformed]
                object_columns = object_columns.resolve(readable, input_config)
            yield object_columns, batch


def _read_json_lines(
    input_object: InputObject, input_config: InputConfig
) -> Iterator[tuple[ObjectColumns, Batch]]:
    object_columns = ObjectColumns(input_config.column_names)
    with open_text(input_object, input_config) as lines:
        records = JsonRecordReader(lines, input_config.column_names)
        for batch in iter_batches(records.read_batch):
            yield object_columns, batch
    missing = [
        column.name
        for column in input_config.columns
        if not column.optional and column.name in records.unseen_names
    ]
    if missing and records.seen_members:
        raise InputError(
            f"{input_object.uri}: no record has {', '.join(missing)}; they have "
            f"{', '.join(sorted(records.seen_members))}. Correct input.columns, or mark columns that an object may "
            "leave out as optional"
        )


def _read_parquet(
    input_object: InputObject, input_config: InputConfig
) -> Iterator[tuple[ObjectColumns, Batch]]:
    records = ParquetRecordReader(input_object.path, input_config, input_object.uri)
    object_columns = ObjectColumns(records.column_names)
    for batch in records.iter_batches():
        yield object_columns, batch


_READERS = {"csv": _read_csv, "jsonlines": _read_json_lines, "parquet": _read_parquet}
