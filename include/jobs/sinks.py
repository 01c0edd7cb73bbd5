"""Where joined rows go: CSV with the records' own text, JSON Lines, or Parquet (parquet_sink.py)."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from include.jobs.answers import Taken
from include.jobs.csv_reading import csv_lines
from include.jobs.errors import JoinError
from include.jobs.join_spec import JoinSpec
from include.jobs.json_reading import decode_record, dumps
from include.jobs.members import json_text
from include.jobs.parquet_sink import ParquetSink
from include.jobs.records import Cell, Records
from include.jobs.sink import BytesSink, Sink
from include.jobs.splice import splicer

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class CsvSink(BytesSink):
    """A header, then each record's own bytes with the predictions behind it."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._delimiter = spec.delimiter.encode()
        self._splice = splicer(self._delimiter)
        self._echoes = any(field.echoes for field in spec.fields)
        self.file.write(self._lines([[column.name for column in spec.output_columns]])[0] + b"\n")

    def prepare(self, records: Records, taken: Taken) -> Any:
        names = [column.name for column in self.spec.columns]
        # Records whose last columns were left out keep their bytes too: what is missing follows empty.
        missing = len(names) - len(records.columns)
        own = (
            self.spec.records_format == "csv"
            and self.spec.whole_records
            and list(records.columns) == names[: len(records.columns)]
        )
        if own and not missing and self._splice is not None:
            numbers = taken.numbers(self._splice.arrow)
            if numbers is not None:
                return self._splice(records.block, numbers)
        columns = None if self._echoes else taken.plain()
        if columns is None or not all(map(_finite, columns)):
            columns = [
                self._lines(zip(texts))
                if field.type in ("string", "json")
                else "\n".join(texts).encode().split(b"\n")
                for field, texts in zip(self.spec.columns_of_answers, taken.texts())
            ]
        if own:
            lines = records.lines()
        else:
            cells = records.cells()
            absent: tuple[Cell, ...] = (None,) * records.count
            lines = self._lines(zip(*(cells.get(kept.source, absent) for kept in self.spec.kept)))
            missing = 0
        gap = self._delimiter * (missing + 1)
        answers = columns[0] if len(columns) == 1 else list(map(self._delimiter.join, zip(*columns)))
        if not len(lines) == len(answers) == records.count:
            raise JoinError(
                f"shard {records.shard}: {len(lines)} records and {len(answers)} answers in one block"
            )
        return b"\n".join([*map(gap.join, zip(lines, answers)), b""])

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        return b"".join([line + b"\n" for line in self._lines(zip(*cells.values()))])

    def _lines(self, rows: Iterable[Sequence[Cell]]) -> list[bytes]:
        return [line.encode("utf-8") for line in csv_lines(rows, self.spec.delimiter)]


class JsonSink(BytesSink):
    """One JSON object a row; numbers as they were written wherever JSON allows it.

    Records that came as JSON keep their own text, members that the pipeline does not name included, and get the
    predictions as last members.
    """

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._added = {column.name for column in spec.columns_of_answers}
        self._keys = [_quoted(column.name).encode() for column in spec.columns_of_answers]

    def prepare(self, records: Records, taken: Taken) -> bytes:
        texts = taken.texts()
        answers = [
            _members(column.name, [_json_answer(value, column.type) for value in values])
            for column, values in zip(self.spec.columns_of_answers, texts)
        ]
        if self.spec.records_format == "jsonlines" and self.spec.untouched_records:
            tails = [", ".join(row).encode("utf-8") for row in zip(*answers)]
            lines = [self._extended(line, tail) for line, tail in zip(records.lines(), tails)]
            return b"".join(lines)
        if self.spec.records_format == "jsonlines":
            rows = [
                ", ".join([*self._members(line), *row]) for line, row in zip(records.lines(), zip(*answers))
            ]
            return "".join(f"{{{row}}}\n" for row in rows).encode("utf-8")
        cells = records.cells()
        absent: tuple[Cell, ...] = (None,) * records.count
        members = [
            _members(
                kept.column.name,
                [_json_cell(cell, kept.column.type) for cell in cells.get(kept.source, absent)],
            )
            for kept in self.spec.kept
        ]
        return _objects([*members, *answers])

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> bytes:
        return _objects(
            [
                _members(column.name, [_json_cell(cell, column.type) for cell in cells[column.name]])
                for column in self.spec.output_columns
            ]
        )

    def _members(self, line: bytes) -> list[str]:
        """The published members of a record that came as JSON, values as they were written."""
        names = {kept.source: kept.column.name for kept in self.spec.kept}
        # A member that no column names gives way to what is published under its name.
        left_out = {column.name for column in (*self.spec.columns, *self.spec.output_columns)}
        return [
            f"{_quoted(names.get(name, name))}: {json_text(value)}"
            for name, value in decode_record(line.decode("utf-8")).items()
            if name in names or (self.spec.unnamed and name not in left_out)
        ]

    def _extended(self, line: bytes, tail: bytes) -> bytes:
        line = line.rstrip()
        # Perhaps as a member, which may be spelled with escapes: it gives way to the prediction.
        if b"\\" in line or any(key in line for key in self._keys):
            record = decode_record(line.decode("utf-8"))
            if not self._added.isdisjoint(record):
                kept = {name: value for name, value in record.items() if name not in self._added}
                line = dumps(kept).encode("utf-8")
        body = line[:-1].rstrip()
        return body + (b"" if body.endswith(b"{") and not body[:-1].strip() else b", ") + tail + b"}\n"


def _finite(numbers: list[bytes]) -> bool:
    """Whether all are finite; a sum costs less than a look at each, and a doubtful one is looked at closer."""
    try:
        return math.isfinite(sum(map(float, numbers)))
    except ValueError:
        return False


def _members(name: str, values: Iterable[str]) -> list[str]:
    key = _quoted(name)
    return [f"{key}: {value}" for value in values]


def _objects(members: Sequence[Sequence[str]]) -> bytes:
    return "".join(["{" + ", ".join(row) + "}\n" for row in zip(*members)]).encode("utf-8")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_cell(cell: Cell, kind: str) -> str:
    return "null" if cell is None else _json_answer(cell, kind)


def _json_answer(text: str, kind: str) -> str:
    if kind == "json":
        return text
    return _quoted(text) if kind == "string" else _json_number(text)


def _json_number(cell: str) -> str:
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    cell = cell.strip()
    if not cell:
        return "null"
    return str(int(cell)) if cell.lstrip("+-").isdigit() else repr(float(cell))


SINKS: dict[str, type[Sink]] = {"csv": CsvSink, "jsonl": JsonSink, "parquet": ParquetSink}
