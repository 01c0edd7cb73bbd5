"""The csv module as all readers here use it.

Its limit on the length of a field holds for the whole process, and its default of 131,072 characters is less than
cells may have: so nobody calls `csv.reader` without saying how long a field may be.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import Iterable, Iterator

from include.jobs.blocks import Block

# No field of a block that fits into memory is longer.
ANY_LENGTH = (1 << 31) - 1
# Where it stands first in the bytes that are read, Arrow passes over it, though these may come from amid a file.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class UnreadableError(Exception):
    """One record of a block cannot be read; the text says how.

    Attributes:
        index: its place in the block.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def reader(lines: Iterable[str], delimiter: str, longest: int = ANY_LENGTH) -> Iterator[list[str]]:
    """The csv module's reader, to be used before another one is made; it raises csv.Error beyond `longest`."""
    csv.field_size_limit(longest)
    return csv.reader(lines, delimiter=delimiter)


def rows_of(block: Block, delimiter: str) -> list[list[str]]:
    """The cells of each record of the block, line breaks in quotes kept; raises UnreadableError."""
    with suppress(UnicodeDecodeError, csv.Error):  # which record it is shows below
        rows = list(reader(io.StringIO(block.data.decode("utf-8"), newline=""), delimiter))
        if len(rows) == block.count:
            return rows
    return [_row(block, index, delimiter) for index in range(block.count)]


def is_closed(record: bytes, delimiter: str, cells: int) -> bool:
    """Whether the last of so many cells ends with the record: what followed an open quote would be in that cell, too.

    Raises:
        csv.Error: the record ends in a carriage return.
    """
    return len(next(reader([f"{record.decode('utf-8')}{delimiter}x"], delimiter))) == cells + 1


def _row(block: Block, index: int, delimiter: str) -> list[str]:
    record = block.record(index)
    try:
        return next(reader([record.decode("utf-8")], delimiter))
    except UnicodeDecodeError as error:
        raise UnreadableError(index, f"is not UTF-8: {error}") from error
    except csv.Error as error:
        # What the module says is about opening files, and differs between Python's versions.
        found = "NUL character" if b"\0" in record else "carriage return outside of quotes"
        raise UnreadableError(index, f"is not CSV: it has a {found}") from error
