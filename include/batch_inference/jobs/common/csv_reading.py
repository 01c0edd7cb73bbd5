"""Parses and formats CSV with the csv module.

Its limit on the length of a field is global to the process, and the default of 131,072 characters is too low for
cells: always use `create_csv_reader`, which sets the limit, not `csv.reader`.
"""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from typing import Iterable, Iterator, Sequence

import numpy as np

from batch_inference.jobs.common.blocks import Block

# Effectively no limit: blocks are smaller.
MAX_FIELD_LENGTH = (1 << 31) - 1
_OUT_OF_PLACE = "is not CSV: it has text after the quote that closes a cell, or a quote that is not doubled"


class UnreadableRecordError(Exception):
    """The record at `index` of a block cannot be parsed; the message says why."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def create_csv_reader(
    lines: Iterable[str], delimiter: str, max_field_length: int = MAX_FIELD_LENGTH, *, strict: bool = False
) -> Iterator[list[str]]:
    """Create a csv reader; use it up before creating another. Raises csv.Error for fields over `max_field_length`.

    If `strict`, also for a quote that is not closed, or a character after the quote that closes a field; otherwise the
    csv module appends it to the field.
    """
    csv.field_size_limit(max_field_length)
    return csv.reader(lines, delimiter=delimiter, strict=strict)


def compile_record_pattern(delimiter: str) -> re.Pattern[str]:
    """Compile the pattern of an RFC 4180 record: each field is quoted completely or not at all."""
    one = re.escape(delimiter)
    field = rf'(?:"[^"]*(?:""[^"]*)*"|[^"{one}\r\n]*)'
    return re.compile(rf"{field}(?:{one}{field})*(?:\r\n|\r|\n)?")


def compile_unclosed_line_pattern(delimiter: str) -> re.Pattern[str]:
    """Compile the pattern of the first line of such a record over several lines: its last field is not closed."""
    one = re.escape(delimiter)
    open_field = r'"[^"]*(?:""[^"]*)*'
    return re.compile(rf'(?:(?:{open_field}"|[^"{one}\r\n]*){one})*{open_field}')


def format_csv_lines(rows: Iterable[Sequence[str | None]], delimiter: str) -> list[str]:
    """Format rows as lines without line ends: an empty string is `""`, and a null is empty."""
    line = io.StringIO()
    # With a carriage return in the line end, the csv module quotes cells that contain one.
    writer = csv.writer(line, delimiter=delimiter, lineterminator="\r\n")

    def format_row(row: Sequence[str | None]) -> str:
        writer.writerow(row)
        text = line.getvalue()[:-2]
        line.seek(0)
        line.truncate()
        return text

    return [
        # The csv module does not quote an empty string, but quotes a null that is the only cell.
        delimiter.join([format_row([cell]) if cell else "" if cell is None else '""' for cell in row])
        if "" in row or len(row) == 1
        else format_row(row)
        for row in rows
    ]


def find_empty_strings(record: str, delimiter: str) -> list[bool]:
    """Find which cells of a line of `format_csv_lines` are `""`."""
    one = re.escape(delimiter)
    field = re.compile(rf'("[^"]*(?:""[^"]*)*"|[^{one}]*)(?:{one}|\Z)')
    return [found[1] == '""' for found in field.finditer(record)]


def parse_rows(block: Block, delimiter: str) -> list[list[str]]:
    """Parse the cells of each record of a block; keeps line breaks in quotes. Raises UnreadableRecordError."""
    if block.data.count(b"\n") == block.record_count or has_canonical_quotes(block.data, delimiter):
        with suppress(UnicodeDecodeError, csv.Error):  # the record is found below
            text = io.StringIO(block.data.decode("utf-8"), newline="")
            rows = list(create_csv_reader(text, delimiter, strict=True))
            if len(rows) == block.record_count:
                return rows
    return [_parse_row(block, index, delimiter) for index in range(block.record_count)]


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


def _parse_row(block: Block, index: int, delimiter: str) -> list[str]:
    record = block.get_record(index)
    try:
        text = record.decode("utf-8")
        row = next(create_csv_reader([text], delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise UnreadableRecordError(index, f"is not UTF-8: {error}") from error
    except csv.Error as error:
        raise UnreadableRecordError(index, _describe_problem(record, delimiter)) from error
    if "\n" in text and not compile_record_pattern(delimiter).fullmatch(text):
        raise UnreadableRecordError(index, _OUT_OF_PLACE)
    return row


def _describe_problem(record: bytes, delimiter: str) -> str:
    """Describe why the csv module cannot parse the record; its own messages differ between Python versions."""
    if b"\0" in record:
        return "is not CSV: it has a NUL character"
    try:
        # What follows an open quote is in the same cell.
        cells = [
            len(next(create_csv_reader([record.decode("utf-8") + more], delimiter)))
            for more in ("", f"{delimiter}x")
        ]
    except csv.Error:
        return "is not CSV: it has a carriage return outside of quotes"
    return "breaks off: a quote is opened and not closed" if cells[0] == cells[1] else _OUT_OF_PLACE
