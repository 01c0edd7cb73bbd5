"""A batch of consecutive records of one object, the same for all input formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterator

# Target size of a batch in characters, so that wide records need no more memory than narrow ones.
BATCH_CHARACTERS = 4 << 20
BATCH_RECORDS = 32_768


@dataclass
class Batch:
    """Consecutive records of one object.

    Attributes:
        rows: the cells of each record, as text; an empty one is a null.
        texts: the text of each record, ended by one line feed, with doubled quotes.
        first_record: the number of the first record within its object, from 1.
        line_numbers: the number of each record's first line within its object, from 1.
        malformed: rule and reason of each record that cannot be parsed, by its index in the batch.
        blank_lines: number of empty lines skipped; they are not records.
        original_texts: the original text of each record where it differs from `texts`, by index in the batch.
    """

    rows: list[list[str]]
    texts: list[str]
    first_record: int
    line_numbers: list[int]
    malformed: dict[int, tuple[str, str]] = field(default_factory=dict)
    blank_lines: int = 0
    original_texts: dict[int, str] = field(default_factory=dict)

    def get_original_text(self, index: int) -> str:
        """Get the original text of a record, ended by one line feed."""
        return self.original_texts.get(index, self.texts[index])


def iter_batches(read_batch: Callable[[int], Batch | None]) -> Iterator[Batch]:
    """Iterate over the batches of `read_batch`, asking for as many records as make about BATCH_CHARACTERS."""
    limit = 256
    while (batch := read_batch(limit)) is not None:
        yield batch
        characters = max(1, sum(map(len, batch.texts)) // max(1, len(batch.texts)))
        limit = max(1, min(BATCH_RECORDS, BATCH_CHARACTERS // characters))


def end_with_line_feed(line: str) -> str:
    """Replace the end of the line (CR LF, a lone CR, or the end of the object) by one line feed."""
    if line.endswith("\r\n"):
        return line[:-2] + "\n"
    if line.endswith("\n"):
        return line
    return (line[:-1] if line.endswith("\r") else line) + "\n"
