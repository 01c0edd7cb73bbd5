"""Reads the records of one input object in batches, each with the columns of the object."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence, Tuple

from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import InputConfig
from batch_inference.jobs.preprocess.objects import (
    InputObject,
    estimate_decompressed_bytes,
    open_text,
    translate_read_errors,
)
from batch_inference.jobs.preprocess.readers.batch import Batch, iter_batches
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader
from batch_inference.jobs.preprocess.readers.json_records import JsonRecordReader
from batch_inference.jobs.preprocess.readers.parquet_records import ParquetRecordReader

# The names of the columns of an object, in its order; None until a record shows how many optional ones it has.
ColumnNames = Optional[Tuple[str, ...]]


def read_batches(input_object: InputObject, input_config: InputConfig) -> Iterator[tuple[ColumnNames, Batch]]:
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
            return ParquetRecordReader(input_object, input_config).estimate_text_bytes()
        return estimate_decompressed_bytes(input_object, input_config)


def _read_csv(input_object: InputObject, input_config: InputConfig) -> Iterator[tuple[ColumnNames, Batch]]:
    allowed = range(input_config.required_count, len(input_config.columns) + 1)
    names: ColumnNames = input_config.column_names if len(allowed) == 1 else None
    with open_text(input_object, input_config) as lines:
        records = CsvRecordReader(lines, input_config.delimiter, input_config.escape)
        if input_config.header:
            header = records.read_header()
            if header is None:
                return
            names = _parse_header(header, input_config, input_object.uri)
        for batch in iter_batches(records.read_batch):
            if names is None:
                counts = (len(row) for index, row in enumerate(batch.rows) if index not in batch.malformed)
                fitting = (input_config.column_names[:count] for count in counts if count in allowed)
                names = next(fitting, None)
            yield names, batch


def _parse_header(header: Sequence[str], input_config: InputConfig, uri: str) -> tuple[str, ...]:
    """Read the columns from a header line; they may come in any order.

    Raises InputError for unknown, repeated or missing columns.
    """
    names = tuple(cell.strip() for cell in header)
    for problem, which in (
        ("unknown column", [name for name in names if name not in input_config.column_names]),
        ("repeated column", sorted({name for name in names if names.count(name) > 1})),
        ("no column", input_config.find_missing(names)),
    ):
        if which:
            raise InputError(
                f"{uri}: the header has {problem} {', '.join(map(repr, which))}; "
                f"the pipeline names {', '.join(input_config.column_names)}. "
                "If the first line is data, set input.header to false"
            )
    return names


def _read_json_lines(
    input_object: InputObject, input_config: InputConfig
) -> Iterator[tuple[ColumnNames, Batch]]:
    with open_text(input_object, input_config) as lines:
        records = JsonRecordReader(lines, input_config.column_names)
        for batch in iter_batches(records.read_batch):
            yield input_config.column_names, batch
    missing = input_config.find_missing(set(input_config.column_names) - records.unseen_names)
    if missing and records.seen_members:
        raise InputError(
            f"{input_object.uri}: no record has {', '.join(missing)}; they have "
            f"{', '.join(sorted(records.seen_members))}. Correct input.columns, or mark columns that an object may "
            "leave out as optional"
        )


def _read_parquet(
    input_object: InputObject, input_config: InputConfig
) -> Iterator[tuple[ColumnNames, Batch]]:
    records = ParquetRecordReader(input_object, input_config)
    for batch in records.iter_batches():
        yield records.column_names, batch


_READERS = {"csv": _read_csv, "jsonlines": _read_json_lines, "parquet": _read_parquet}
