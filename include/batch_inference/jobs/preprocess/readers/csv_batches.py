"""Reads CSV objects in batches: plain lines many at once, others record by record.

A line is plain if it has neither a quote nor NUL nor bytes outside of the encoding, and is not within a record that
began before it. All others, and what they make of the lines behind them, are read by `CsvRecordReader`, which reads
plain lines in the same way.
"""

from __future__ import annotations

import io
from typing import Iterator, Protocol

import numpy as np

from batch_inference.jobs.common.byte_ranges import PADDING, expand_ranges
from batch_inference.jobs.preprocess.readers.batch import (
    Batch,
    ParsedRecords,
    build_batch,
    concatenate_batches,
    sort_by_line,
)
from batch_inference.jobs.preprocess.readers.csv_records import (
    MAX_FIELD_CHARACTERS,
    CsvRecordReader,
    MoreLinesError,
)

BLOCK_BYTES = 1 << 20


class TextSource(Protocol):
    """The text of an object."""

    def read(self, size: int, /) -> bytes:
        """Read about `size` bytes of UTF-8; nothing at the end."""

    def escape_undecodable(self, lines: bytes, /) -> bytes:
        """Replace bytes of whole lines that are outside of the object's encoding by lone surrogates."""


class RecordContinuesError(Exception):
    """The text ends within a record, though the object goes on."""


class CsvBatchReader:
    """Reads the records of one object, or of a part of it, in batches of about BLOCK_BYTES.

    Iterating raises RecordContinuesError if the source `is_part`, and ends within a record.
    """

    def __init__(
        self, source: TextSource, delimiter: str, escape: str | None = None, *, is_part: bool = False
    ) -> None:
        self._source = source
        self._delimiter = delimiter
        self._escape = escape
        self._is_part = is_part
        self._tail = b""  # as the source gave it: the begin of a line
        self._pending = b""  # lines of the last block that belong to the next one
        self._is_exhausted = False
        self._record = 0  # records of earlier batches
        self.line_count = 0  # lines read so far
        # A delimiter of several bytes is not found among single ones, so each line is read record by record.
        self._is_single_byte = len(delimiter.encode("utf-8")) == 1
        self._separator = delimiter if self._is_single_byte else ","

    def __iter__(self) -> Iterator[Batch]:
        while block := self._read_block():
            batch = self._parse_block(block)
            if batch is not None:
                batch.ordinals = self._record + 1 + np.arange(len(batch))
                self._record += len(batch)
                yield batch

    def read_header(self) -> list[str] | None:
        """Read the first record, which is not counted; None if the object has only empty lines."""
        while block := self._read_block():
            lines = _BlockLines(block, is_last=self._is_exhausted)
            records = CsvRecordReader(lines, self._delimiter, self._escape)
            parsed = records.read_records(1)
            while parsed is not None and not parsed.rows:
                parsed = records.read_records(1)
            if parsed is None and records.unfinished_count:
                self._pending = block
                continue
            count = lines.position - records.lines_to_repeat
            self.line_count += count
            self._pending = block[lines.starts[count] :]
            if parsed is not None:
                return parsed.rows[0]
        return None

    def _read_block(self) -> bytes:
        """Read whole lines of about BLOCK_BYTES; nothing at the end of the source, whose last line may have no end."""
        pending, self._pending = self._pending, b""
        data = self._tail
        while not self._is_exhausted:
            # A record that goes on is read again with more: with twice as much, so that the effort stays linear.
            more = self._source.read(max(BLOCK_BYTES, len(pending)))
            data += more
            self._is_exhausted = not more
            # Without line feeds, lines end at carriage returns; a line feed may follow the last byte.
            end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, max(0, len(data) - 1)) + 1
            if more and end:
                self._tail = data[end:]
                return pending + self._source.escape_undecodable(data[:end])
        self._tail = b""
        return pending + self._source.escape_undecodable(data)

    def _parse_block(self, block: bytes) -> Batch | None:
        """Parse the records of a block; what belongs to an unfinished one is left for the next block."""
        if b"\r" in block and b'"' not in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = _BlockLines(block, is_last=self._is_exhausted and not self._is_part)
        is_irregular = np.ones(len(lines), dtype=bool)
        if self._is_single_byte and not lines.has_carriage_returns:
            is_irregular = _find_irregular_lines(block, lines.starts)
        other, unfinished_count = self._read_irregular(lines, is_irregular)
        line_count = len(lines) - unfinished_count
        if unfinished_count:
            if self._is_exhausted:
                raise RecordContinuesError
            self._pending = block[lines.starts[line_count] :]
            if not line_count:
                return None
        starts = lines.starts[: line_count + 1]
        if not block.endswith(b"\n"):  # the end of the object
            block += b"\n"
            starts = np.append(starts[:-1], len(block))
        plain = self._locate_plain_records(block, starts, ~is_irregular[:line_count])
        self.line_count += line_count
        plain.blank_lines += other.blank_lines
        if not other.rows:
            return plain
        other.blank_lines = 0
        return sort_by_line(concatenate_batches([plain, build_batch(other, self._separator)]))

    def _read_irregular(self, lines: _BlockLines, is_irregular: np.ndarray) -> tuple[ParsedRecords, int]:
        """Read the records of the irregular lines, and add the lines that these take up to the irregular ones.

        Also returns how many of the last lines belong to a record that is not finished.
        """
        parsed = ParsedRecords([], [], 0, [])
        indexes = np.flatnonzero(is_irregular)
        if not len(indexes):
            return parsed, 0
        run_ends = np.append(np.flatnonzero(np.diff(indexes) > 1), len(indexes) - 1)
        records = CsvRecordReader(lines, self._delimiter, self._escape)
        records.skip_lines(self.line_count)
        while True:
            limit = records.lines_to_repeat
            if not limit:
                at = int(np.searchsorted(indexes, lines.position))
                if at == len(indexes):
                    break
                start = int(indexes[at])
                records.skip_lines(start - lines.position)
                lines.position = start
                limit = int(indexes[run_ends[np.searchsorted(run_ends, at)]]) + 1 - start
            start = lines.position
            more = records.read_records(limit)
            is_irregular[start : lines.position] = True
            if more is not None:
                parsed.extend(more)
            if more is None or records.unfinished_count:
                break
        return parsed, records.unfinished_count

    def _locate_plain_records(self, block: bytes, starts: np.ndarray, is_plain: np.ndarray) -> Batch:
        """Locate the cells of the plain lines of a block; lines begin and end at `starts`."""
        end = int(starts[-1])
        data = np.frombuffer(block, dtype=np.uint8, count=end)
        if is_plain.any():
            cell_ends = np.flatnonzero((data == ord(self._separator)) | (data == ord("\n")))
            cell_starts = np.concatenate(([0], cell_ends[:-1] + 1))
            last_cells = np.flatnonzero(data[cell_ends] == ord("\n"))
            counts = np.diff(last_cells, prepend=-1)
        else:
            cell_starts = cell_ends = counts = np.empty(0, dtype=np.int64)
        text_starts, text_ends = starts[:-1], starts[1:] - 1
        is_blank = is_plain & (text_starts == text_ends)
        is_record = is_plain & ~is_blank
        line_numbers = self.line_count + 1 + np.arange(len(is_plain))
        if not is_record.all():
            if len(counts):
                cells = expand_ranges((last_cells - counts + 1)[is_record], counts[is_record])
                counts, cell_starts, cell_ends = counts[is_record], cell_starts[cells], cell_ends[cells]
            text_starts, text_ends = text_starts[is_record], text_ends[is_record]
            line_numbers = line_numbers[is_record]
        return Batch(
            buffer=block + bytes(PADDING),
            text_starts=text_starts,
            text_ends=text_ends,
            field_counts=counts,
            cell_starts=cell_starts,
            cell_ends=cell_ends,
            separator=self._separator,
            line_numbers=line_numbers,
            ordinals=line_numbers,
            is_plain=np.ones(len(text_starts), dtype=bool),
            blank_lines=int(is_blank.sum()),
        )


class _BlockLines:
    """The lines of a block, of which those from `position` on are still to be read.

    Attributes:
        starts: the start of each line, and the end of the last one.
    """

    def __init__(self, block: bytes, *, is_last: bool) -> None:
        """`is_last`: no other line belongs to the last record."""
        self._block = block
        self._is_last = is_last
        self.position = 0
        self.has_carriage_returns = b"\r" in block
        if self.has_carriage_returns:
            lines = io.StringIO(block.decode("utf-8", "surrogatepass"), newline="")
            lengths = [len(line.encode("utf-8", "surrogatepass")) for line in lines]
            self.starts = np.concatenate(([0], np.cumsum(lengths)))
        else:
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + 1
            self.starts = np.concatenate(([0], ends))
            if block and not block.endswith(b"\n"):
                self.starts = np.append(self.starts, len(block))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> _BlockLines:
        return self

    def __next__(self) -> str:
        if self.position == len(self):
            if self._is_last:
                raise StopIteration
            raise MoreLinesError
        start, end = self.starts[self.position : self.position + 2].tolist()
        self.position += 1
        return self._block[start:end].decode("utf-8", "surrogatepass")


def _find_irregular_lines(block: bytes, starts: np.ndarray) -> np.ndarray:
    """Find the lines that are not plain, or so long that one of their cells may be too long."""
    is_irregular = np.diff(starts) > MAX_FIELD_CHARACTERS
    data = np.frombuffer(block, dtype=np.uint8)
    positions = [np.flatnonzero(data == byte) for byte in b'"\0' if bytes((byte,)) in block]
    if not block.isascii():
        try:
            block.decode("utf-8")
        except UnicodeDecodeError:
            # In UTF-8 a surrogate is 0xED and a byte from 0xA0 on.
            positions.append(np.flatnonzero((data[:-1] == 0xED) & (data[1:] >= 0xA0)))
    for found in positions:
        is_irregular[np.searchsorted(starts, found, side="right") - 1] = True
    return is_irregular
