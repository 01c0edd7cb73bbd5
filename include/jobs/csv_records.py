"""CSV records with their own text, kept to the letter.

The fields are those of the standard library's csv module; the text of a record is the physical lines that it
took, quoted line breaks included, ended by one line feed whatever ended it before.
"""

from __future__ import annotations

import csv
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Iterable, Iterator, Sequence

from include.jobs.batch import BATCH_RECORDS, Batch, ended
from include.jobs.csv_reading import reader

# The longest quoted field, in characters. One stray quote would otherwise swallow the rest of its object.
FIELD_LIMIT = 1 << 20


class CsvRecords:
    """Reads the lines of one object (each with its own line end) as records, in batches."""

    def __init__(self, lines: Iterable[str], delimiter: str) -> None:
        self._source = iter(lines)
        self._delimiter = delimiter
        self._pushed: deque[str] = deque()  # lines to be read again, after a quote that was never closed
        self._taken: list[str] = []  # lines given to the csv module for the current batch
        self._exhausted = False  # the csv module asked for a line behind the last one
        self._line = 0  # lines of earlier batches
        self._record = 0  # records of earlier batches

    def take(self, limit: int = BATCH_RECORDS) -> Batch | None:
        """The next records, at most `limit`; None at the end of the object."""
        lines = self._pull(limit)
        together = "".join(lines)
        if '"' in together or "\0" in together:
            self._pushed.extendleft(reversed(lines))
            return self._take_carefully(limit)
        if not lines:
            return None
        try:
            rows = list(reader(lines, self._delimiter, FIELD_LIMIT))
        except csv.Error:  # a field beyond the limit
            self._pushed.extendleft(reversed(lines))
            return self._take_carefully(limit)
        self._taken = lines
        return self._batch(rows, range(1, len(lines) + 1), {})

    def _pull(self, limit: int) -> list[str]:
        lines = [self._pushed.popleft() for _ in range(min(limit, len(self._pushed)))]
        lines.extend(islice(self._source, limit - len(lines)))
        return lines

    def _take_carefully(self, limit: int) -> Batch | None:
        """Records of which some may take several lines, or have no end."""
        rows: list[list[str]] = []
        ends: list[int] = []  # after each record: how many lines of this batch are taken
        broken: dict[int, tuple[str, str]] = {}
        self._taken = []
        source = self._new_reader()
        over = False
        while len(rows) < limit and not over:
            stopped = True
            with suppress(csv.Error):
                for row in islice(source, limit - len(rows)):
                    rows.append(row)
                    ends.append(len(self._taken))
                stopped = False
            over = self._exhausted and not stopped
            # What was given up is not looked at again: it would be as open as before.
            if over and len(rows) - 1 not in broken and self._unclosed(rows, ends):
                rows.pop()
                ends.pop()
                over, stopped = False, True
            if stopped:
                self._give_up_line(rows, ends, broken)
                source = self._new_reader()
        return self._batch(rows, ends, broken)

    def _new_reader(self) -> Iterator[list[str]]:
        self._exhausted = False
        return reader(self._tap(), self._delimiter, FIELD_LIMIT)

    def _tap(self) -> Iterator[str]:
        pushed, taken = self._pushed, self._taken
        while True:
            while pushed:
                line = pushed.popleft()
                taken.append(line)
                yield line
            for line in self._source:
                taken.append(line)
                yield line
                if pushed:
                    break
            else:
                self._exhausted = True
                return

    def _unclosed(self, rows: list[list[str]], ends: list[int]) -> bool:
        """Whether the last record ended only because its object did, and would have taken one more line."""
        if not rows:
            return False
        lines = self._taken[ends[-2] if len(ends) > 1 else 0 :]
        if '"' not in lines[0]:
            return False
        try:
            more = [*lines[:-1], ended(lines[-1]), "x\n"]
            return len(list(reader(more, self._delimiter, FIELD_LIMIT))) == 1
        except csv.Error:  # it went on, and beyond the limit
            return True

    def _give_up_line(
        self, rows: list[list[str]], ends: list[int], broken: dict[int, tuple[str, str]]
    ) -> None:
        """Make a record of its own of the one line at which the csv module stopped, and read on behind it."""
        start = ends[-1] if ends else 0
        self._pushed.extendleft(reversed(self._taken[start + 1 :]))
        del self._taken[start + 1 :]
        if "\0" in self._taken[start]:
            broken[len(rows)] = ("encoding", "the record holds a NUL character")
        else:
            broken[len(rows)] = (
                "quoting",
                f"a field of this line has no end within {FIELD_LIMIT:,} characters of its object",
            )
        rows.append([self._taken[start]])
        ends.append(start + 1)

    def _batch(self, rows: list[list[str]], ends: Sequence[int], broken: dict[int, tuple[str, str]]) -> Batch:
        taken = self._taken
        starts = [0, *ends[:-1]]
        texts = taken[:] if len(ends) == len(taken) else ["".join(taken[a:b]) for a, b in zip(starts, ends)]
        if "\r" in "".join(texts) or not texts[-1].endswith("\n"):
            texts = [ended(text) for text in texts]
        lines = [self._line + 1 + start for start in starts]
        self._line += len(taken)
        self._taken = []
        blank = 0
        if not all(rows):
            full = [index for index, row in enumerate(rows) if row]
            blank = len(rows) - len(full)
            broken = {full.index(index): why for index, why in broken.items()}
            rows = [rows[index] for index in full]
            texts = [texts[index] for index in full]
            lines = [lines[index] for index in full]
        batch = Batch(rows, texts, self._record + 1, lines, broken, blank)
        self._record += len(rows)
        return batch

    def take_header(self) -> list[str] | None:
        """The first record, which is then not counted; None when the object holds no line but empty ones."""
        while True:
            batch = self.take(1)
            if batch is None:
                return None
            if batch.rows:
                self._record = 0
                return batch.rows[0]
