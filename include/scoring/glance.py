"""What a few windows of bytes tell of input that goes to the model as it is: one line a record, or not.

SageMaker ends a record at every line feed (SplitType Line), so a CSV record with a line break in quotes would reach the
model in parts. It shows by an odd number of quotes in a line, or by a line whose cells are not as many as the columns.
A window in the middle of one very long quoted text would show neither; then the answers are not as many as the records
that the join reads, and nothing is published.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from include.jobs.json_reading import decode_record
from include.scoring.messages import count
from include.scoring.sections import InputSection

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Window:
    """Some bytes of one object: `start` says where they begin, `is_end` whether the object ends with them."""

    key: str
    start: int
    data: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What windows told: whether objects begin with column names, the longest line in bytes (0: none seen), and the
    members that records of JSON Lines have."""

    header: bool = False
    largest_record_bytes: int = 0
    members: frozenset[str] = frozenset()

    def with_(self, other: LookedAt) -> LookedAt:
        """Both together."""
        return LookedAt(
            self.header or other.header,
            max(self.largest_record_bytes, other.largest_record_bytes),
            self.members | other.members,
        )

    def absent_columns(self, source: InputSection) -> str | None:
        """What is wrong where no record of JSON Lines that was looked at has a member that a column names."""
        absent = [column.name for column in source.columns if column.name not in self.members]
        if not absent or not self.members:
            return None
        return (
            f"none of the records that were looked at has {', '.join(absent)}; they have "
            f"{', '.join(sorted(self.members))}; correct input.columns, or add a preprocess section, in which columns "
            f"may be optional"
        )


def unpacked(data: bytes) -> bytes:
    """The text in the beginning of a gzip object; what is left when it breaks off in the middle is left out."""
    return zlib.decompressobj(wbits=31).decompress(data)


def whole_lines(window: Window) -> list[bytes]:
    """The lines that the window holds from their beginning to their end, without line ends."""
    lines = window.data.split(b"\n")
    if window.start > 0:
        lines = lines[1:]  # the window begins somewhere in it
    if not window.is_end or not lines[-1:] or not lines[-1]:
        lines = lines[:-1]
    return [line.removesuffix(b"\r") for line in lines]


def look(window: Window, source: InputSection) -> tuple[LookedAt, tuple[str, ...]]:
    """What one window of text tells, and what is wrong with it: what was found, why, what to do."""
    lines = whole_lines(window)
    # A line that is longer than the window is at least as long as that.
    longest = max(map(len, lines), default=len(window.data))
    header = window.start == 0 and source.format == "csv" and _names_columns(lines, source)
    problem = next(_problems(window, lines[1:] if header else lines, source), None)
    members = _members(lines) if source.format == "jsonlines" and problem is None else frozenset()
    told = LookedAt(header=header, largest_record_bytes=longest, members=members)
    return told, () if problem is None else (f"{window.key}: {problem}",)


def look_at_beginning(data: bytes, source: InputSection) -> str | None:
    """What is wrong with an object that begins like this, whatever its lines are."""
    if data.startswith(PARQUET):
        return "found a Parquet file, which has no lines; add a preprocess section with input.format parquet"
    packed = data.startswith(GZIP)
    if packed and source.compression == "none":
        return "found gzip data, which the model would be given packed; set input.compression to gzip"
    if not packed and source.compression == "gzip":
        return "found no gzip data; set input.compression to none, or leave such objects out"
    if data.startswith(BYTE_ORDER_MARK):
        return (
            "found a byte order mark, which the model would be given as part of the first record; upload the object "
            "without it, or add a preprocess section"
        )
    return None


def _problems(window: Window, lines: list[bytes], source: InputSection) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        where = f"line {number}" if window.start == 0 else f"a line behind byte {window.start:,}"
        try:
            text = line.decode()
        except UnicodeDecodeError:
            yield (
                f"{where} is not utf-8, and the model is given the bytes as they are; upload utf-8, or add a "
                f"preprocess section with input.encoding"
            )
            return
        if not text.strip():
            yield (
                f"{where} is empty, and SageMaker would send it to the model as a record; upload the object without "
                f"it, or add a preprocess section, which passes over empty lines"
            )
            return
        yield from (
            _json_problem(text, where) if source.format == "jsonlines" else _csv_problem(text, where, source)
        )


def _json_problem(text: str, where: str) -> Iterator[str]:
    found = "is JSON, but not an object"
    try:
        value = decode_record(text)
    except ValueError as error:
        value, found = None, f"is not JSON ({error})"
    if not isinstance(value, dict):
        yield (
            f"{where} {found}, and SageMaker ends a record at each line end; write one object to a line, or "
            f"add a preprocess section, which keeps such lines aside"
        )


def _members(lines: list[bytes]) -> frozenset[str]:
    return frozenset(name for line in lines for name in decode_record(line.decode()))


def _csv_problem(text: str, where: str, source: InputSection) -> Iterator[str]:
    if text.count('"') % 2:
        yield (
            f"{where} has an odd number of quotes, so a record goes on behind its end, and SageMaker ends a record at "
            f"each line end; add a preprocess section, which reads line breaks in quotes, or upload records of one line"
        )
        return
    row = _cells(text, source)
    if row is None and "\r" not in text:
        yield (
            f"{where} has text behind the quote that closes a cell, and readers of CSV differ in what they make of it; "
            f"double the quotes within a cell, or add a preprocess section, which keeps such records aside and knows "
            f"other ways to escape them (input.escape)"
        )
        return
    if row is None:
        yield (
            f"{where} has a carriage return outside of quotes, at which readers of CSV end a record, and SageMaker "
            f"does not; end lines with a line feed, or add a preprocess section, which reads either end"
        )
        return
    cells = len(row)
    if cells != len(source.columns):
        yield (
            f"{where} has {count(cells, 'cell')}, and input.columns names {len(source.columns)}; correct the columns "
            f"or the delimiter, or add a preprocess section, which keeps such records aside and reads line breaks in "
            f"quotes"
        )


def _names_columns(lines: list[bytes], source: InputSection) -> bool:
    if not lines:
        return False
    first = _cells(lines[0].decode(errors="replace"), source) or []
    return [cell.strip().lower() for cell in first] == [column.name.lower() for column in source.columns]


def _cells(line: str, source: InputSection) -> list[str] | None:
    """The line's cells, however long they are; None where the csv module refuses to tell them."""
    csv.field_size_limit((1 << 31) - 1)  # for the whole process; 131,072 characters by default
    try:
        return next(csv.reader([line], delimiter=source.delimiter, strict=True), [])
    except csv.Error:
        return None
