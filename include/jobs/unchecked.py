"""Records that nobody has read before the join: whether they have the columns, and the types, that they were said to.

Preprocessing rejects such records one by one. Without it the model was given them as they are, and a record with
another number of cells would stand beside its prediction in the wrong columns; so nothing is joined.
"""

from __future__ import annotations

import csv
from typing import Any

from include.jobs.csv_reading import BYTE_ORDER_MARK, is_closed, reader
from include.jobs.errors import JoinError
from include.jobs.numeric import parse_column
from include.jobs.records import Records

_ADVICE = "Nothing of this group was joined; a preprocess section in the pipeline"


def check_records(records: Records) -> None:
    """Raise JoinError, naming the record, for one of another shape, or with a number that is none."""
    _check_text(records)
    if records.spec.records_format == "csv":
        if records.first == 1 and records.count:
            _check_mark(records)
        if _is_sound_to_arrow(records):
            _check_names(records)
            # Of a quote that is open at the end of any other record Arrow makes fewer records.
            _check_closed(records, range(max(0, records.count - 1), records.count))
            return
    try:
        cells = records.cells()
    except JoinError as error:
        raise JoinError(f"{error}. {_ADVICE} keeps such records aside") from error
    wrong: list[tuple[int, str]] = []
    for column in records.spec.columns:
        if column.type != "string" and column.name in cells:
            texts = [cell or "" for cell in cells[column.name]]
            for index, allowed in parse_column(texts, column.type)[1].items():
                wrong.append((index, f"{column.name} is {texts[index]!r}, allowed is {allowed}"))
    if wrong:
        index, problem = min(wrong)
        raise _problem(records, index, f"{problem}. {_ADVICE} keeps such records aside")
    if records.spec.records_format == "csv":
        _check_names(records)
        _check_closed(records, range(records.count))


def _check_text(records: Records) -> None:
    try:
        records.block.data.decode("utf-8")
    except UnicodeDecodeError as error:
        index = int(records.block.ends.searchsorted(error.start, side="right"))
        raise JoinError(
            f"shard {records.shard}, record {records.first + index:,} is not UTF-8: {error.reason}. {_ADVICE} reads "
            f"other encodings (input.encoding)"
        ) from error


def _check_mark(records: Records) -> None:
    """Raise JoinError where editors put a byte order mark before a shard's first record."""
    if records.block.record(0).startswith(BYTE_ORDER_MARK):
        raise _problem(records, 0, f"it begins with a byte order mark. {_ADVICE} passes over it")


def _check_names(records: Records) -> None:
    """Raise JoinError where a shard, which can be read, begins with the names of its columns and all may be texts."""
    if records.first != 1 or not records.count:
        return
    first = next(reader([records.block.record(0).decode("utf-8")], records.spec.delimiter), [])
    if [cell.strip().lower() for cell in first] == [name.lower() for name in records.columns]:
        raise _problem(
            records,
            0,
            f"its cells are the names of the columns. {_ADVICE} takes away such a line (input.header)",
        )


def _check_closed(records: Records, indexes: range) -> None:
    """Raise JoinError for a record whose last cell is not at its end: what follows it would be in that cell, too."""
    for index in indexes:
        line = records.block.record(index)
        if b'"' not in line and not line.endswith(b"\r"):
            continue
        found = "a quote is opened and not closed"
        try:
            closed = is_closed(line, records.spec.delimiter, len(records.columns))
        except csv.Error:
            closed, found = False, "it ends in a carriage return"
        if not closed:
            raise _problem(records, index, f"{found}. {_ADVICE} keeps such records aside")


def _is_sound_to_arrow(records: Records) -> bool:
    """Whether Arrow, which is several times as fast, finds all as it must be. It may be stricter than needed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
    except ImportError:
        return False
    data = records.block.data
    # It reads 0x10 as a number, an empty line as a record of one empty cell, and a carriage return as the end of one.
    if b"0x" in data or b"0X" in data or data.startswith(b"\n") or b"\n\n" in data or b"\r" in data:
        return False
    kinds = {"integer": pyarrow.int64(), "float": pyarrow.float64()}
    types: dict[str, Any] = {
        column.name: kinds[column.type]
        for column in records.spec.columns
        if column.type in kinds and column.name in records.columns
    }
    # One column is enough to have the cells of all counted.
    table = records.arrow_table(pyarrow, types or {records.columns[0]: pyarrow.string()})
    if table is None:
        return False
    # Not False, since it is null for a column of nulls.
    return all(
        pyarrow.compute.all(pyarrow.compute.is_finite(table.column(name))).as_py() is not False
        for name, kind in types.items()
        if kind == kinds["float"]
    )


def _problem(records: Records, index: int, problem: str) -> JoinError:
    return JoinError(f"shard {records.shard}, record {records.first + index:,}: {problem}")
