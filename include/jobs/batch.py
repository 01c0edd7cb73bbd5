"""Consecutive records of one object, whatever format they came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterator

# A batch aims at this many characters, so that wide records do not cost more memory than narrow ones.
BATCH_CHARACTERS = 4 << 20
BATCH_RECORDS = 32_768


@dataclass
class Batch:
    """Consecutive records of one object.

    Attributes:
        rows: the cells of each record, as text; an empty one is a null.
        texts: the original text of each record, ended by one line feed, with doubled quotes.
        first: the number of the first record within its object, from 1.
        lines: the number of each record's first line within its object, from 1.
        broken: for a record whose cells cannot be told, by its place in the batch: the rule and the reason.
        blank: empty lines passed over; they are no records.
        originals: the text as it came of each record for which it is another one, by its place in the batch.
    """

    rows: list[list[str]]
    texts: list[str]
    first: int
    lines: list[int]
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)
    blank: int = 0
    originals: dict[int, str] = field(default_factory=dict)

    def original(self, index: int) -> str:
        """The text of a record as it came, ended by one line feed."""
        return self.originals.get(index, self.texts[index])


def batches(take: Callable[[int], Batch | None]) -> Iterator[Batch]:
    """All that `take` gives, asked for numbers of records that come to about as many characters each time."""
    limit = 256
    while True:
        batch = take(limit)
        if batch is None:
            return
        yield batch
        characters = max(1, sum(map(len, batch.texts)) // max(1, len(batch.texts)))
        limit = max(1, min(BATCH_RECORDS, BATCH_CHARACTERS // characters))


def ended(line: str) -> str:
    """`line` ended by one line feed, whatever ended it: CR LF, a lone CR, or the end of the object."""
    if line.endswith("\r\n"):
        return line[:-2] + "\n"
    if line.endswith("\n"):
        return line
    return (line[:-1] if line.endswith("\r") else line) + "\n"
