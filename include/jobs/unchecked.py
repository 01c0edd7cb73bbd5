"""Records that nobody has read before the join: whether they have the columns, and the types, that they were said to.

Preprocessing rejects such records one by one. Without it the model was given them as they are, and a record with
another number of cells would stand beside its prediction in the wrong columns; so nothing is joined.
"""

from __future__ import annotations

import json
from typing import Any, Collection

from include.jobs.csv_reading import BYTE_ORDER_MARK, has_canonical_quotes, reader
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
        _check_ends(records)


def named_in(data: bytes, names: Collection[str]) -> set[str]:
    """Those of the names that a block of JSON Lines may have as a member: what is not among them, it has not."""
    if b"\\" in data:  # a name may be spelled with escapes
        return set(names)
    return {name for name in names if json.dumps(name, ensure_ascii=False).encode() in data}


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


def _check_ends(records: Records) -> None:
    """Raise JoinError for a record that ends in a carriage return, which would be in its last cell or end it twice."""
    for index in range(records.count):
        if records.block.record(index).endswith(b"\r"):
            raise _problem(
                records, index, f"it ends in a carriage return. {_ADVICE} keeps such records aside"
            )


def _is_sound_to_arrow(records: Records) -> bool:
    """Whether Arrow, which is several times as fast, finds all as it must be. It may be stricter than needed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
    except ImportError:
        return False
    data = records.block.data
    if not has_canonical_quotes(data, records.spec.delimiter):
        return False
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
