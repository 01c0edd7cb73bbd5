"""Checks in samples of bytes that unpreprocessed input has one record per line.

SageMaker ends a record at every line feed (SplitType Line), so a CSV record with a line break in quotes would reach the
model in parts. Such a record shows by an odd number of quotes in a line, or by a line with another number of cells than
there are columns. A window in the middle of one very long quoted text shows neither; then the number of predictions
differs from the number of records that the join reads, and nothing is published.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from batch_inference.common.formatting import format_count
from batch_inference.config.sections.stages import InputSection
from batch_inference.jobs.common.binary_formats import BYTE_ORDER_MARK, GZIP, PARQUET
from batch_inference.jobs.common.json_reading import decode_object, decode_record


@dataclass(frozen=True, slots=True)
class Window:
    """Some bytes of one object: `start` says where they begin, `is_end` whether the object ends with them."""

    key: str
    start: int
    data: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What windows show: whether objects begin with a header line, the longest line in bytes (0: none seen), and the
    field names in records of JSON Lines. `sentences` tell people what was seen, and what could not be looked at."""

    has_header: bool = False
    largest_record_bytes: int = 0
    field_names: frozenset[str] = frozenset()
    sentences: tuple[str, ...] = ()

    def merge(self, other: ProbeResult) -> ProbeResult:
        """The findings of both."""
        return ProbeResult(
            self.has_header or other.has_header,
            max(self.largest_record_bytes, other.largest_record_bytes),
            self.field_names | other.field_names,
        )

    def explain_missing_columns(self, source: InputSection) -> str | None:
        """The problem where no sampled record of JSON Lines has a field that `input.columns` names; else None."""
        missing = [column.name for column in source.columns if column.name not in self.field_names]
        if not missing or not self.field_names:
            return None
        return (
            f"none of the records that were looked at has {', '.join(missing)}; they have "
            f"{', '.join(sorted(self.field_names))}; correct input.columns, or add a preprocess section, in which "
            "columns may be optional"
        )


def split_whole_lines(window: Window) -> list[bytes]:
    """The complete lines in a window, without line ends."""
    lines = window.data.split(b"\n")
    if window.start > 0:
        lines = lines[1:]  # the window begins somewhere in it
    if not window.is_end or not lines[-1:] or not lines[-1]:
        lines = lines[:-1]
    return [line.removesuffix(b"\r") for line in lines]


def probe_window(window: Window, source: InputSection) -> tuple[ProbeResult, tuple[str, ...]]:
    """The findings in one window of text, and its problems: what was found, why it matters, what to do."""
    lines = split_whole_lines(window)
    # A line that is longer than the window is at least as long as that.
    longest = max(map(len, lines), default=len(window.data))
    header = window.start == 0 and source.format == "csv" and _is_header(lines, source)
    problem = _find_problem(window, lines[1:] if header else lines, source)
    members = _read_field_names(lines) if source.format == "jsonlines" and problem is None else frozenset()
    result = ProbeResult(has_header=header, largest_record_bytes=longest, field_names=members)
    return result, () if problem is None else (f"{window.key}: {problem}",)


def find_object_start_problem(data: bytes, source: InputSection) -> str | None:
    """The problem of an object whose first bytes are `data`, whatever its lines are; None when there is none."""
    if data.startswith(PARQUET):
        return "found a Parquet file, which has no lines; add a preprocess section with input.format parquet"
    is_gzip = data.startswith(GZIP)
    if is_gzip and source.compression == "none":
        return "found gzip data, which the model would read compressed; set input.compression to gzip"
    if not is_gzip and source.compression == "gzip":
        return "found no gzip data; set input.compression to none, or leave such objects out"
    if data.startswith(BYTE_ORDER_MARK):
        return (
            "found a byte order mark, which the model would read as part of the first record; upload the object "
            "without it, or add a preprocess section"
        )
    return None


def _find_problem(window: Window, lines: list[bytes], source: InputSection) -> str | None:
    for number, line in enumerate(lines, start=1):
        problem = _find_line_problem(line, source)
        if problem is not None:
            where = f"line {number}" if window.start == 0 else f"a line behind byte {window.start:,}"
            return f"{where} {problem}"
    return None


def _find_line_problem(line: bytes, source: InputSection) -> str | None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return (
            "is not utf-8, and the model reads the bytes unchanged; upload utf-8, or add a preprocess section with "
            "input.encoding"
        )
    if not text.strip():
        return (
            "is empty, and SageMaker would send it to the model as a record; upload the object without it, or add a "
            "preprocess section, which passes over empty lines"
        )
    return _check_json_line(text) if source.format == "jsonlines" else _check_csv_line(text, source)


def _check_json_line(text: str) -> str | None:
    try:
        decode_object(text)
    except ValueError as error:
        found = str(error)
    else:
        return None
    return (
        f"{found}, and SageMaker ends a record at each line end; write one object to a line, or add a preprocess "
        "section, which keeps such lines aside"
    )


def _read_field_names(lines: list[bytes]) -> frozenset[str]:
    return frozenset(name for line in lines for name in decode_record(line.decode()))


def _check_csv_line(text: str, source: InputSection) -> str | None:
    if text.count('"') % 2:
        return (
            "has an odd number of quotes, so a record goes on behind its end, and SageMaker ends a record at each line "
            "end; add a preprocess section, which reads line breaks in quotes, or upload records of one line"
        )
    row = _parse_cells(text, source)
    if row is None and "\r" not in text:
        return (
            "has text behind the quote that closes a cell, and readers of CSV differ in what they make of it; double "
            "the quotes within a cell, or add a preprocess section, which keeps such records aside and knows other "
            "ways to escape them (input.escape)"
        )
    if row is None:
        return (
            "has a carriage return outside of quotes, at which readers of CSV end a record, and SageMaker does not; "
            "end lines with a line feed, or add a preprocess section, which reads either end"
        )
    if len(row) != len(source.columns):
        return (
            f"has {format_count(len(row), 'cell')}, and input.columns names {len(source.columns)}; correct the columns "
            "or the delimiter, or add a preprocess section, which keeps such records aside and reads line breaks in "
            "quotes"
        )
    return None


def _is_header(lines: list[bytes], source: InputSection) -> bool:
    if not lines:
        return False
    first = _parse_cells(lines[0].decode(errors="replace"), source) or []
    return [cell.strip().lower() for cell in first] == [column.name.lower() for column in source.columns]


def _parse_cells(line: str, source: InputSection) -> list[str] | None:
    """The cells of a line, however long they are; None where the csv module refuses the line."""
    csv.field_size_limit((1 << 31) - 1)  # for the whole process; 131,072 characters by default
    try:
        return next(csv.reader([line], delimiter=source.delimiter, strict=True), [])
    except csv.Error:
        return None
