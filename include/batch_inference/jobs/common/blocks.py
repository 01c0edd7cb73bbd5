"""Reads files in blocks of whole records, without parsing them.

A CSV record ends at a line feed outside of quotes. If all quotes are where RFC 4180 has them, their parity tells
inside from outside; a block with a quote elsewhere is cut by a pattern that matches the behaviour of the csv module,
so that `5" pipe,x` is one record of two fields here too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Iterator, Sequence

import numpy as np

BLOCK_BYTES = 4 << 20
_LF, _QUOTE = 10, 34


@dataclass(frozen=True)
class Block:
    """Whole records, each ended by a line feed; `record_ends` is None if each line is a record."""

    data: bytes
    record_ends: np.ndarray | None = None

    @cached_property
    def ends(self) -> np.ndarray:
        """The end offset of each record. Lines are only counted until it is read, which is much faster."""
        return _find_bytes(self.data, _LF) + 1 if self.record_ends is None else self.record_ends

    @cached_property
    def record_count(self) -> int:
        if self.record_ends is None:
            return int(np.count_nonzero(np.frombuffer(self.data, dtype=np.uint8) == _LF))
        return len(self.record_ends)

    def get_record(self, index: int) -> bytes:
        """Get the bytes of one record, without its line feed."""
        return self.data[(int(self.ends[index - 1]) if index else 0) : int(self.ends[index]) - 1]

    def split(self, count: int) -> tuple[Block, Block]:
        """Split off the first `count` records, of at least as many."""
        cut = int(self.ends[count - 1]) if count else 0
        return Block(self.data[:cut], self.ends[:count]), Block(self.data[cut:], self.ends[count:] - cut)


def join_blocks(blocks: Sequence[Block]) -> Block:
    """Join consecutive blocks into one."""
    if len(blocks) == 1:
        return blocks[0]
    data = b"".join([block.data for block in blocks])
    if all(block.record_ends is None for block in blocks):
        return Block(data)
    starts = np.cumsum([0, *(len(block.data) for block in blocks)])
    return Block(data, np.concatenate([block.ends + start for block, start in zip(blocks, starts)]))


class BlockReader:
    """Reads the records of one file; `delimiter` is None if each line is a record, as in JSON Lines."""

    def __init__(self, file: IO[bytes], delimiter: str | None, size: int | None = None) -> None:
        self._file = file
        self._size = size or BLOCK_BYTES
        self._find_quoted_ends = None if delimiter is None else _CsvRecordEnds(delimiter)
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
                block = self._cut_block(data)
                if len(block.data) < len(data):  # a quote is never closed: the rest is one record
                    block = Block(data, np.append(block.ends, len(data)))
                return block
            block = self._cut_block(data)
            if block.data:
                self._tail = data[len(block.data) :]
                return block
            self._tail = data
            wanted = max(self._size, len(data))  # double the bytes read for a longer record

    def _read(self, wanted: int) -> bytes:
        """Read `wanted` bytes and the rest of their last line, which mostly ends a record, so nothing is left over."""
        start = self._file.tell()
        self._file.seek(start + wanted - 1)
        rest = len(self._file.readline(self._size))
        self._file.seek(start)
        return self._file.read(wanted - 1 + rest)

    def _cut_block(self, data: bytes) -> Block:
        """Cut the whole records at the start of `data`, which may be none."""
        if self._find_quoted_ends is None or b'"' not in data:
            return Block(data[: data.rfind(b"\n") + 1])
        ends = self._find_quoted_ends(data)
        return Block(data[: int(ends[-1]) if len(ends) else 0], ends)

    def read_records(self, count: int) -> Block:
        """Read the next `count` records, or as many as are left."""
        parts: list[Block] = []
        missing = count
        while missing and (block := self.read_block()) is not None:
            if block.record_count > missing:
                block, self._left_over = block.split(missing)
            parts.append(block)
            missing -= block.record_count
        return join_blocks(parts)


def count_records(path: Path, delimiter: str | None) -> int:
    """Count the records of a file."""
    with path.open("rb") as file:
        return sum(block.record_count for block in BlockReader(file, delimiter))


def _find_bytes(data: bytes, byte: int) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == byte)


class _CsvRecordEnds:
    """Finds the ends of the whole CSV records in bytes that begin with a record and have quotes."""

    def __init__(self, delimiter: str) -> None:
        self._before_quote = np.frombuffer(f'{delimiter}\n"'.encode(), dtype=np.uint8)
        comma = re.escape(delimiter.encode())
        # As the csv module reads: a quoted field, and anything after it up to the delimiter; or a field that does not
        # begin with a quote, in which quotes are literal.
        field = rb'(?:"[^"]*(?:""[^"]*)*"(?!")[^%b\n]*|[^"%b\n][^%b\n]*|)' % (comma, comma, comma)
        self._record = re.compile(rb"%b(?:%b%b)*\n" % (field, comma, field))

    def __call__(self, data: bytes) -> np.ndarray:
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
