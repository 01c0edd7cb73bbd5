"""A batch of consecutive records of one object, the same for all input formats: ranges of bytes in one buffer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Callable, Iterator, Sequence

import numpy as np

from batch_inference.jobs.common.byte_ranges import PADDING, expand_ranges, find_cells_with, join_ranges
from batch_inference.jobs.common.json_reading import is_encodable
from batch_inference.jobs.preprocess.rejects import Reject

# Target size of a batch in characters, so that wide records need no more memory than narrow ones.
BATCH_CHARACTERS = 1 << 20
BATCH_RECORDS = 32_768


@dataclass
class ParsedRecords:
    """Records that were parsed one by one.

    Attributes:
        rows: the cells of each record, as text; an empty one is a null.
        texts: the text of each record, ended by one line feed, with doubled quotes.
        first_record: the number of the first record within its object, from 1.
        line_numbers: the number of each record's first line within its object, from 1.
        malformed: why each record that cannot be parsed is rejected, by its index here.
        blank_lines: number of empty lines skipped; they are not records.
        original_texts: the original text of each record where it differs from `texts`, by its index here.
    """

    rows: list[list[str]]
    texts: list[str]
    first_record: int
    line_numbers: list[int]
    malformed: dict[int, Reject] = field(default_factory=dict)
    blank_lines: int = 0
    original_texts: dict[int, str] = field(default_factory=dict)

    def extend(self, other: ParsedRecords) -> None:
        """Append the records that follow."""
        count = len(self.rows)
        self.rows += other.rows
        self.texts += other.texts
        self.line_numbers += other.line_numbers
        self.malformed.update((count + index, reject) for index, reject in other.malformed.items())
        self.original_texts.update((count + index, text) for index, text in other.original_texts.items())
        self.blank_lines += other.blank_lines


@dataclass
class Batch:
    """Consecutive records of one object.

    Attributes:
        buffer: UTF-8, in which bytes outside of the input's encoding are lone surrogates, and PADDING bytes more.
        text_starts, text_ends: range of each record's text, behind which is a line feed; quotes in it are doubled.
        field_counts: how many cells each record has; 0 if it cannot be parsed.
        cell_starts, cell_ends: range of each cell's text, record by record. An empty cell is a null.
        separator: the byte between the cells of a record, one after the other in the buffer.
        line_numbers: the number of each record's first line within its object, from 1.
        ordinals: the number of each record within its object, from 1, plus the rank of the object in the bits above.
        is_plain: for each record, whether no cell holds a separator, a quote or a line break.
        malformed: why each record that cannot be parsed is rejected, by its index in the batch.
        blank_lines: number of empty lines skipped; they are not records.
        original_texts: the original text of each record where it is another one, by its index in the batch.
    """

    buffer: bytes
    text_starts: np.ndarray
    text_ends: np.ndarray
    field_counts: np.ndarray
    cell_starts: np.ndarray
    cell_ends: np.ndarray
    separator: str
    line_numbers: np.ndarray
    ordinals: np.ndarray
    is_plain: np.ndarray
    malformed: dict[int, Reject] = field(default_factory=dict)
    blank_lines: int = 0
    original_texts: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text_starts)

    def get_original_text(self, index: int) -> str:
        """Get the original text of a record, without its line end."""
        if index in self.original_texts:
            return self.original_texts[index]
        return self.buffer[self.text_starts[index] : self.text_ends[index]].decode("utf-8", "surrogatepass")

    def join_texts(self, start: int, passed: np.ndarray) -> bytes:
        """Join the texts, each with its line feed, of those records from `start` on that `passed`."""
        kept = slice(start, start + len(passed))
        return join_ranges(self.buffer, self.text_starts[kept][passed], self.text_ends[kept][passed] + 1)

    def select_cells(self, records: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Select the starts and the ends of the cells of records, by index, that have `count`: one row a record."""
        if len(self.cell_ends) == len(records) * count:
            return self.cell_starts.reshape(-1, count), self.cell_ends.reshape(-1, count)
        first_cells = np.cumsum(self.field_counts) - self.field_counts
        cells = first_cells[records][:, np.newaxis] + np.arange(count)
        return self.cell_starts[cells], self.cell_ends[cells]


def iter_parsed(read_records: Callable[[int], ParsedRecords | None]) -> Iterator[ParsedRecords]:
    """Iterate over what `read_records` reads, asking for as many records as make about BATCH_CHARACTERS."""
    limit = 256
    while (parsed := read_records(limit)) is not None:
        yield parsed
        characters = max(1, sum(map(len, parsed.texts)) // max(1, len(parsed.texts)))
        limit = max(1, min(BATCH_RECORDS, BATCH_CHARACTERS // characters))


def build_batch(parsed: ParsedRecords, separator: str = ",") -> Batch:
    """Build a batch of records that were parsed one by one; those with bytes outside of the encoding are malformed."""
    malformed = {**_find_undecodable_records(parsed), **parsed.malformed}
    rows = [[] if index in parsed.malformed else row for index, row in enumerate(parsed.rows)]
    cells = list(chain.from_iterable(rows))
    texts, text_lengths = _encode(parsed.texts, "")
    cell_bytes, cell_lengths = _encode(cells, separator)
    text_ends = np.cumsum(text_lengths)
    cell_ends = np.cumsum(cell_lengths + 1)
    field_counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    special = find_cells_with(f'{separator}"\r\n', np.frombuffer(cell_bytes, dtype=np.uint8), cell_ends)
    is_plain = np.ones(len(rows), dtype=bool)
    is_plain[np.repeat(np.arange(len(rows)), field_counts)[special]] = False
    cell_ends += len(texts) - 1
    return Batch(
        buffer=b"".join((texts, cell_bytes, bytes(PADDING))),
        text_starts=text_ends - text_lengths,
        text_ends=text_ends - 1,
        field_counts=field_counts,
        cell_starts=cell_ends - cell_lengths,
        cell_ends=cell_ends,
        separator=separator,
        line_numbers=np.array(parsed.line_numbers, dtype=np.int64),
        ordinals=parsed.first_record + np.arange(len(rows)),
        is_plain=is_plain,
        malformed=malformed,
        blank_lines=parsed.blank_lines,
        original_texts={index: text[:-1] for index, text in parsed.original_texts.items()},
    )


def concatenate_batches(batches: Sequence[Batch]) -> Batch:
    """Concatenate batches with the same separator, of one object or of several."""
    if len(batches) == 1:
        return batches[0]
    counts = [len(batch) for batch in batches]
    firsts = [sum(counts[:at]) for at in range(len(batches))]
    sizes = [len(batch.buffer) for batch in batches]
    offsets = [sum(sizes[:at]) for at in range(len(batches))]

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(batch, name) for batch in batches])

    def shift(name: str) -> np.ndarray:
        return np.concatenate([getattr(batch, name) + offset for batch, offset in zip(batches, offsets)])

    return Batch(
        buffer=b"".join([batch.buffer for batch in batches]),
        text_starts=shift("text_starts"),
        text_ends=shift("text_ends"),
        field_counts=join("field_counts"),
        cell_starts=shift("cell_starts"),
        cell_ends=shift("cell_ends"),
        separator=batches[0].separator,
        line_numbers=join("line_numbers"),
        ordinals=join("ordinals"),
        is_plain=join("is_plain"),
        malformed={
            first + index: reject
            for batch, first in zip(batches, firsts)
            for index, reject in batch.malformed.items()
        },
        blank_lines=sum(batch.blank_lines for batch in batches),
        original_texts={
            first + index: text
            for batch, first in zip(batches, firsts)
            for index, text in batch.original_texts.items()
        },
    )


def sort_by_line(batch: Batch) -> Batch:
    """Sort the records of one object by their line numbers."""
    order = np.argsort(batch.line_numbers, kind="stable")
    place = np.argsort(order, kind="stable")
    cells = expand_ranges(
        (np.cumsum(batch.field_counts) - batch.field_counts)[order], batch.field_counts[order]
    )
    return replace(
        batch,
        text_starts=batch.text_starts[order],
        text_ends=batch.text_ends[order],
        field_counts=batch.field_counts[order],
        cell_starts=batch.cell_starts[cells],
        cell_ends=batch.cell_ends[cells],
        line_numbers=batch.line_numbers[order],
        ordinals=batch.ordinals[order],
        is_plain=batch.is_plain[order],
        malformed={int(place[index]): reject for index, reject in batch.malformed.items()},
        original_texts={int(place[index]): text for index, text in batch.original_texts.items()},
    )


def end_with_line_feed(line: str) -> str:
    """Replace the end of the line (CR LF, a lone CR, or the end of the object) by one line feed."""
    if line.endswith("\r\n"):
        return line[:-2] + "\n"
    if line.endswith("\n"):
        return line
    return (line[:-1] if line.endswith("\r") else line) + "\n"


def _encode(texts: Sequence[str], separator: str) -> tuple[bytes, np.ndarray]:
    """Encode texts, each followed by the separator, and return with them the length of each in bytes."""
    together = separator.join(texts) + separator if texts else ""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    encoded = together.encode("utf-8", "surrogatepass")
    if len(encoded) != len(together):
        sizes = (len(text.encode("utf-8", "surrogatepass")) for text in texts)
        lengths = np.fromiter(sizes, dtype=np.int64, count=len(texts))
    return encoded, lengths


def _find_undecodable_records(parsed: ParsedRecords) -> dict[int, Reject]:
    """Find the records with bytes outside of the encoding, or with NUL."""
    together = "".join(parsed.texts)
    if "\0" not in together and is_encodable(together):
        return {}
    found = {}
    for index, text in enumerate(parsed.texts):
        text = parsed.original_texts.get(index, text)
        if "\0" in text:
            found[index] = Reject("encoding", "the record holds a NUL character")
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            byte = ord(text[error.start]) - 0xDC00
            found[index] = Reject(
                "encoding",
                f"byte 0x{byte:02x} at character {error.start + 1} is not of the input's encoding",
            )
    return found
