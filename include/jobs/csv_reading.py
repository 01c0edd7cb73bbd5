"""The csv module as all readers here use it.

Its limit on the length of a field holds for the whole process, and its default of 131,072 characters is less than
cells may have: so nobody calls `csv.reader` without saying how long a field may be.
"""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from typing import Iterable, Iterator, Sequence

import numpy as np

from include.jobs.blocks import Block

# No field of a block that fits into memory is longer.
ANY_LENGTH = (1 << 31) - 1
# Where it stands first in the bytes that are read, Arrow passes over it, though these may come from amid a file.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OUT_OF_PLACE = "is not CSV: it has text behind the quote that closes a cell, or a quote that is not doubled"


class UnreadableError(Exception):
    """One record of a block cannot be read; the text says how.

    Attributes:
        index: its place in the block.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def reader(
    lines: Iterable[str], delimiter: str, longest: int = ANY_LENGTH, *, strict: bool = False
) -> Iterator[list[str]]:
    """The csv module's reader, to be used before another one is made; it raises csv.Error beyond `longest`.

    If `strict`, also where a quote is not closed, or a character follows the quote that closes a field: otherwise the
    module glues it to the field.
    """
    csv.field_size_limit(longest)
    return csv.reader(lines, delimiter=delimiter, strict=strict)


def strict_record(delimiter: str) -> re.Pattern[str]:
    """A record as RFC 4180 has it: each field has quotes around all of it, or none."""
    one = re.escape(delimiter)
    field = rf'(?:"[^"]*(?:""[^"]*)*"|[^"{one}\r\n]*)'
    return re.compile(rf"{field}(?:{one}{field})*(?:\r\n|\r|\n)?")


def strict_opening(delimiter: str) -> re.Pattern[str]:
    """The first line of such a record that goes on in the next line: its last field has a quote before it alone."""
    one = re.escape(delimiter)
    open_field = r'"[^"]*(?:""[^"]*)*'
    return re.compile(rf'(?:(?:{open_field}"|[^"{one}\r\n]*){one})*{open_field}')


def csv_lines(rows: Iterable[Sequence[str | None]], delimiter: str) -> list[str]:
    """Records without their ends: an empty text is spelled `""`, and a null is nothing between delimiters."""
    line = io.StringIO()
    # With a carriage return in the line end, the csv module puts cells that hold one into quotes.
    writer = csv.writer(line, delimiter=delimiter, lineterminator="\r\n")

    def spelled(row: Sequence[str | None]) -> str:
        writer.writerow(row)
        text = line.getvalue()[:-2]
        line.seek(0)
        line.truncate()
        return text

    return [
        # Of an empty text, and of a null that is the only cell, the csv module would make the other one.
        delimiter.join([spelled([cell]) if cell else "" if cell is None else '""' for cell in row])
        if "" in row or len(row) == 1
        else spelled(row)
        for row in rows
    ]


def empty_texts(record: str, delimiter: str) -> list[bool]:
    """For each cell of a record that `csv_line` wrote, whether it is spelled `""`."""
    one = re.escape(delimiter)
    field = re.compile(rf'("[^"]*(?:""[^"]*)*"|[^{one}]*)(?:{one}|\Z)')
    return [found[1] == '""' for found in field.finditer(record)]


def rows_of(block: Block, delimiter: str) -> list[list[str]]:
    """The cells of each record of the block, line breaks in quotes kept; raises UnreadableError."""
    if block.data.count(b"\n") == block.count or has_canonical_quotes(block.data, delimiter):
        with suppress(UnicodeDecodeError, csv.Error):  # which record it is shows below
            text = io.StringIO(block.data.decode("utf-8"), newline="")
            rows = list(reader(text, delimiter, strict=True))
            if len(rows) == block.count:
                return rows
    return [_row(block, index, delimiter) for index in range(block.count)]


def has_canonical_quotes(data: bytes, delimiter: str) -> bool:
    """Whether in whole records, ended by line feeds, each field has quotes around all of it, or none."""
    if b'"' not in data:
        return True
    text = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    beside = np.frombuffer(f'{delimiter}\n"'.encode(), dtype=np.uint8)
    opening = quotes[0::2]
    before, behind = text[opening[opening > 0] - 1], text[quotes[1::2] + 1]  # the last byte is a line feed
    return len(quotes) % 2 == 0 and bool(np.isin(before, beside).all() and np.isin(behind, beside).all())


def _row(block: Block, index: int, delimiter: str) -> list[str]:
    record = block.record(index)
    try:
        text = record.decode("utf-8")
        row = next(reader([text], delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise UnreadableError(index, f"is not UTF-8: {error}") from error
    except csv.Error as error:
        raise UnreadableError(index, _problem(record, delimiter)) from error
    if "\n" in text and not strict_record(delimiter).fullmatch(text):
        raise UnreadableError(index, _OUT_OF_PLACE)
    return row


def _problem(record: bytes, delimiter: str) -> str:
    """Why the csv module does not read the record: what it says itself differs between Python's versions."""
    if b"\0" in record:
        return "is not CSV: it has a NUL character"
    try:
        # What follows an open quote is in the same cell.
        cells = [
            len(next(reader([record.decode("utf-8") + more], delimiter))) for more in ("", f"{delimiter}x")
        ]
    except csv.Error:
        return "is not CSV: it has a carriage return outside of quotes"
    return "breaks off: a quote is opened and not closed" if cells[0] == cells[1] else _OUT_OF_PLACE
