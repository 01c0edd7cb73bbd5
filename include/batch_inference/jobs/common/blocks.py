"""Reads files in blocks of whole records, without parsing them.

A CSV record ends at a line feed outside of quotes. If all quotes are where RFC 4180 has them, their parity tells
inside from outside; a block with a quote elsewhere is cut by a pattern that matches the behaviour of the csv module,
so that `5" pipe,x` is one record of two fields here too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator

import numpy as np

BLOCK_BYTES = 4 << 20
_LF, _QUOTE = 10, 34


@dataclass(frozen=True)
class Block:
    """Whole records, each ended by a line feed; `ends` has the end offset of each record."""

    data: bytes
    ends: np.ndarray

    @property
    def record_count(self) -> int:
        return len(self.ends)

    def get_record(self, index: int) -> bytes:
        """Get the bytes of one record, without its line feed."""
        return self.data[(int(self.ends[index - 1]) if index else 0) : int(self.ends[index]) - 1]


class BlockReader:
    """Reads the records of one file; `delimiter` is None if each line is a record, as in JSON Lines."""

    def __init__(self, file: IO[bytes], delimiter: str | None, size: int | None = None) -> None:
        self._file = file
        self._size = size or BLOCK_BYTES
        self._find_ends = _find_line_ends if delimiter is None else _CsvRecordEnds(delimiter)
        self._tail = b""
        self._left_over: Block | None = None  # rest of the block that `read_records` has begun

    def __iter__(self) -> Iterator[Block]:
        return iter(self.read_block, None)

    def read_block(self) -> Block | None:
        """Read whole records of about `size` bytes; None at the end. A missing last line feed is added."""
        if self._left_over is not None:
            block, self._left_over = self._left_over, None
            return block
        wanted = self._size
        while True:
            more = self._read(wanted)
            data = self._tail + more if self._tail else more
            if not more:
                self._tail = b""
                if not data:
                    return None
                if not data.endswith(b"\n"):
                    data += b"\n"
                ends = self._find_ends(data)
                if not len(ends) or ends[-1] != len(data):  # a quote is never closed: the rest is one record
                    ends = np.append(ends, len(data))
                return Block(data, ends)
            ends = self._find_ends(data)
            if len(ends):
                last = int(ends[-1])
                self._tail = data[last:]
                return Block(data[:last] if self._tail else data, ends)
            self._tail = data
            wanted = max(self._size, len(data))  # double the bytes read for a longer record

    def _read(self, wanted: int) -> bytes:
        """Read `wanted` bytes and the rest of their last line, which mostly ends a record, so nothing is left over."""
        start = self._file.tell()
        self._file.seek(start + wanted - 1)
        rest = len(self._file.readline(self._size))
        self._file.seek(start)
        return self._file.read(wanted - 1 + rest)

    def read_records(self, count: int) -> Block:
        """Read the next `count` records, or as many as are left."""
        parts: list[bytes] = []
        ends: list[np.ndarray] = []
        length = 0
        missing = count
        while missing and (block := self.read_block()) is not None:
            if block.record_count > missing:
                cut = int(block.ends[missing - 1])
                self._left_over = Block(block.data[cut:], block.ends[missing:] - cut)
                block = Block(block.data[:cut], block.ends[:missing])
            parts.append(block.data)
            ends.append(block.ends + length)
            length += len(block.data)
            missing -= block.record_count
        if len(parts) == 1:
            return Block(parts[0], ends[0])
        return Block(b"".join(parts), np.concatenate(ends) if ends else np.empty(0, dtype=np.int64))


def count_records(path: Path, delimiter: str | None) -> int:
    """Count the records of a file."""
    with path.open("rb") as file:
        return sum(block.record_count for block in BlockReader(file, delimiter))


def _find_bytes(data: bytes, byte: int) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == byte)


def _find_line_ends(data: bytes) -> np.ndarray:
    return _find_bytes(data, _LF) + 1


class _CsvRecordEnds:
    """Finds the ends of the whole CSV records in bytes that begin with a record."""

    def __init__(self, delimiter: str) -> None:
        self._before_quote = np.frombuffer(f'{delimiter}\n"'.encode(), dtype=np.uint8)
        comma = re.escape(delimiter.encode())
        # As the csv module reads: a quoted field, and anything after it up to the delimiter; or a field that does not
        # begin with a quote, in which quotes are literal.
        field = rb'(?:"[^"]*(?:""[^"]*)*"(?!")[^%b\n]*|[^"%b\n][^%b\n]*|)' % (comma, comma, comma)
        self._record = re.compile(rb"%b(?:%b%b)*\n" % (field, comma, field))

    def __call__(self, data: bytes) -> np.ndarray:
        if b'"' not in data:
            return _find_line_ends(data)
        quotes = _find_bytes(data, _QUOTE)
        opening = quotes[0::2]
        opening = opening[opening > 0]
        before = np.frombuffer(data, dtype=np.uint8)[opening - 1]
        if np.isin(before, self._before_quote).all():
            feeds = _find_bytes(data, _LF)
            return np.asarray(feeds[np.searchsorted(quotes, feeds) % 2 == 0] + 1)
        ends: list[int] = []
        at = 0
        while (match := self._record.match(data, at)) is not None:
            at = match.end()
            ends.append(at)
        return np.array(ends, dtype=np.int64)
