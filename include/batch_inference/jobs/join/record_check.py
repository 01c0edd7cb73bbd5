"""Checks columns and types of records that were not preprocessed, before they are joined.

Preprocessing rejects invalid records one by one. Without it the model gets them unchanged, and the cells of a record
with another number of cells would be published in the wrong columns; so the join fails.
"""

from __future__ import annotations

import json
from typing import Any, Collection

import numpy as np

from batch_inference.jobs.common.arrow import find_arrow, read_numbers
from batch_inference.jobs.common.binary_formats import BYTE_ORDER_MARK
from batch_inference.jobs.common.cell_types import is_typed
from batch_inference.jobs.common.csv_reading import create_csv_reader, has_canonical_quotes
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.numeric import parse_column
from batch_inference.jobs.join.records import RecordBlock

_ADVICE = "This part was not joined; a preprocess section in the pipeline"


def check_records(records: RecordBlock) -> None:
    """Raise JoinError for records that the pipeline does not preprocess and that cannot be joined as they are.

    That is the first with other columns or an invalid number, one that is not UTF-8, and in CSV a byte order mark, a
    header line, or a carriage return at the end of a record.
    """
    _check_encoding(records)
    if records.spec.records_format == "csv":
        if records.first_record == 1 and records.block.data.startswith(BYTE_ORDER_MARK):
            raise JoinError(f"{records.label(0)}: it begins with a byte order mark. {_ADVICE} skips it")
        if _is_sound_to_arrow(records):
            _check_header_line(records)
            return
    try:
        cells = records.read_cells()
    except JoinError as error:
        raise JoinError(f"{error}. {_ADVICE} rejects such records") from error
    wrong: list[tuple[int, str]] = []
    for column in records.spec.columns:
        if is_typed(column.type) and column.name in cells:
            texts = [cell or "" for cell in cells[column.name]]
            for index, allowed in parse_column(texts, column.type).allowed.items():
                wrong.append((index, f"{column.name} is {texts[index]!r}, allowed is {allowed}"))
    if wrong:
        index, problem = min(wrong)
        raise JoinError(f"{records.label(index)}: {problem}. {_ADVICE} rejects such records")
    if records.spec.records_format == "csv":
        _check_header_line(records)
        _check_line_ends(records)


def find_possible_members(data: bytes, names: Collection[str]) -> set[str]:
    """Find the names that a block of JSON Lines may have as members; names not returned are certainly absent."""
    if b"\\" in data:  # a name may be written with escapes
        return set(names)
    return {name for name in names if json.dumps(name, ensure_ascii=False).encode() in data}


def _check_encoding(records: RecordBlock) -> None:
    try:
        records.block.data.decode("utf-8")
    except UnicodeDecodeError as error:
        index = int(records.block.ends.searchsorted(error.start, side="right"))
        raise JoinError(
            f"{records.label(index)} is not UTF-8: {error.reason}. {_ADVICE} reads other encodings (input.encoding)"
        ) from error


def _check_header_line(records: RecordBlock) -> None:
    """Raise JoinError if the first line of a shard has the names of its columns."""
    if records.first_record != 1 or not records.record_count:
        return
    first = next(create_csv_reader([records.block.get_record(0).decode("utf-8")], records.spec.delimiter), [])
    if [cell.strip().lower() for cell in first] == [name.lower() for name in records.columns]:
        raise JoinError(
            f"{records.label(0)}: its cells are the names of the columns. {_ADVICE} removes such a line (input.header)"
        )


def _check_line_ends(records: RecordBlock) -> None:
    """Raise JoinError for a record that ends in a carriage return, which would become part of its last cell."""
    for index in range(records.record_count):
        if records.block.get_record(index).endswith(b"\r"):
            record = records.label(index)
            raise JoinError(f"{record}: it ends in a carriage return. {_ADVICE} rejects such records")


def _is_sound_to_arrow(records: RecordBlock) -> bool:
    """Whether Arrow, which is several times as fast, accepts all records. It may be stricter than needed."""
    pyarrow, data = find_arrow(), records.block.data
    if pyarrow is None or not has_canonical_quotes(data, records.spec.delimiter):
        return False
    # Arrow reads 0x10 as a number, an empty line as a record of one empty cell, and a carriage return as a line end.
    if b"0x" in data or b"0X" in data or data.startswith(b"\n") or b"\n\n" in data or b"\r" in data:
        return False
    kinds = {"integer": pyarrow.int64(), "float": pyarrow.float64()}
    types: dict[str, Any] = {
        column.name: kinds[column.type]
        for column in records.spec.columns
        if column.type in kinds and column.name in records.columns
    }
    # Arrow has other texts of dates, timestamps and booleans: these cells are checked as without it.
    texts = [
        column
        for column in records.spec.columns
        if column.type not in kinds and is_typed(column.type) and column.name in records.columns
    ]
    types.update((column.name, pyarrow.string()) for column in texts)
    # Reading one column is enough to count the cells of all records.
    table = records.read_arrow_table(pyarrow, types or {records.columns[0]: pyarrow.string()})
    if table is None:
        return False
    for column in texts:
        cells = [cell or "" for cell in table.column(column.name).to_pylist()]
        if parse_column(cells, column.type).allowed:
            return False
    return all(
        np.isfinite(read_numbers(table.column(name))).all()
        for name, kind in types.items()
        if kind == kinds["float"]
    )
