"""CSV records with their own text, kept to the letter.

The fields are those of the standard library's csv module in its strict mode: behind the quote that closes a field
stands a delimiter or the end of the line. Anything else costs the line on which its record began, and no other: what
follows is read as if that line were not there. The text of a record is the physical lines that it took, quoted line
breaks included, ended by one line feed whatever ended it before, and quotes doubled whatever escaped them before.
"""

from __future__ import annotations

import csv
from collections import deque
from itertools import islice
from typing import Iterable, Iterator, Sequence

from include.jobs.batch import BATCH_RECORDS, Batch, ended
from include.jobs.csv_escapes import Escapes
from include.jobs.csv_reading import reader, strict_opening, strict_record

# The longest quoted field, in characters. One stray quote would otherwise swallow the rest of its object.
FIELD_LIMIT = 1 << 20
_NO_END = f"a field of this line has no end within {FIELD_LIMIT:,} characters of its object"
_OUT_OF_PLACE = (
    "a quote of this line is out of place: a field has quotes around all of it or none, and within quotes a quote is "
    "doubled, or escaped as input.escape says"
)


class _OutOfPlaceError(csv.Error):
    """The record cannot be one, whatever follows.

    Nor can one that begins behind its first line and goes on within the next `doomed` lines.
    """

    def __init__(self, doomed: int) -> None:
        super().__init__("a quote is out of place")
        self.doomed = doomed


class CsvRecords:
    """Reads the lines of one object (each with its own line end) as records, in batches."""

    def __init__(self, lines: Iterable[str], delimiter: str, escape: str | None = None) -> None:
        self._source = iter(lines)
        self._delimiter = delimiter
        self._escapes = Escapes(escape, delimiter) if escape else None
        self._is_strict = strict_record(delimiter).fullmatch
        self._is_opening = strict_opening(delimiter).fullmatch
        self._pushed: deque[str] = deque()  # lines to be read again, after a quote that is out of place
        # So many of these, the next ones, lie within quotes of a record that turned out not to be one. A record that
        # begins in one and goes on in another fails at the same place, so it is not read up to there again.
        self._doomed = 0
        self._taken: list[str] = []  # lines given to the csv module for the current batch
        self._doubled: dict[int, str] = {}  # those of them whose quotes were escaped, with doubled ones
        self._ends: list[int] = []  # after each record: how many lines of the current batch are taken
        self._exhausted = False  # the csv module asked for a line behind the last one
        self._line = 0  # lines of earlier batches
        self._record = 0  # records of earlier batches

    def take(self, limit: int = BATCH_RECORDS) -> Batch | None:
        """The next records, at most `limit`; None at the end of the object."""
        doomed = self._doomed
        lines = self._pull(limit)
        together = "".join(lines)
        if '"' in together or "\0" in together:
            self._push_back(lines, doomed)
            return self._take_carefully(limit)
        if not lines:
            return None
        try:
            rows = list(reader(lines, self._delimiter, FIELD_LIMIT))
        except csv.Error:  # a field beyond the limit
            self._push_back(lines, doomed)
            return self._take_carefully(limit)
        self._taken = lines
        return self._batch(rows, range(1, len(lines) + 1), {})

    def _pull(self, limit: int) -> list[str]:
        lines = [self._pushed.popleft() for _ in range(min(limit, len(self._pushed)))]
        self._doomed = max(0, self._doomed - len(lines))
        lines.extend(islice(self._source, limit - len(lines)))
        return lines

    def _push_back(self, lines: Sequence[str], doomed: int) -> None:
        """Have the lines read again, of which, or of those and what follows, so many are doomed."""
        self._pushed.extendleft(reversed(lines))
        self._doomed = doomed

    def _take_carefully(self, limit: int) -> Batch | None:
        """Records of which some may take several lines, or have no end."""
        rows: list[list[str]] = []
        broken: dict[int, tuple[str, str]] = {}
        self._taken, self._ends = [], []
        ends = self._ends
        is_whole = False  # the object
        source = self._new_reader()
        while len(rows) < limit and not is_whole:
            is_stopped, doomed = True, None
            try:
                for row in islice(source, limit - len(rows)):
                    if len(self._taken) - (ends[-1] if ends else 0) > 1 and not self._is_sound():
                        break
                    rows.append(row)
                    ends.append(len(self._taken))
                else:
                    is_stopped = False
            except _OutOfPlaceError as error:
                doomed = error.doomed
            except csv.Error as error:
                if "limit" in str(error):
                    doomed = self._doomed  # a field that begins later may be shorter
            is_whole = self._exhausted and not is_stopped
            if is_stopped:
                self._give_up_line(rows, broken, doomed)
                source = self._new_reader()
        return self._batch(rows, ends, broken)

    def _new_reader(self) -> Iterator[list[str]]:
        self._exhausted = False
        return reader(self._tap(), self._delimiter, FIELD_LIMIT, strict=True)

    def _tap(self) -> Iterator[str]:
        pushed = self._pushed
        while True:
            while pushed:
                is_doomed = self._doomed > 0
                self._doomed -= is_doomed
                yield self._give(pushed.popleft(), is_doomed)
            for line in self._source:
                yield self._give(line, False)
                if pushed:
                    break
            else:
                self._exhausted = True
                return

    def _give(self, line: str, is_doomed: bool) -> str:
        """Count a line as taken, and give what the csv module shall read of it."""
        taken = self._taken
        taken.append(line)
        # It asks for another line of a record only within quotes.
        start = self._ends[-1] if self._ends else 0
        is_within = len(taken) - 1 > start
        if is_doomed and is_within:
            raise _OutOfPlaceError(self._doomed + 1)
        before = len(taken) - 2
        if is_within and not self._is_opening(('"' if before > start else "") + self._line_text(before)):
            raise _OutOfPlaceError(before - start)
        if self._escapes is None:
            return line
        doubled = self._escapes.doubled(line, is_within)
        if doubled != line:
            self._doubled[len(taken) - 1] = doubled
        return doubled

    def _is_sound(self) -> bool:
        """Whether the last record, of several lines, has quotes around fields alone; all lines but its last have.

        In a record of one line a quote within a field is a character like any other. Over several lines it may be the
        one that opens the next record's field, where an earlier line opened one and did not close it.
        """
        return self._is_strict('"' + self._line_text(len(self._taken) - 1)) is not None

    def _line_text(self, at: int) -> str:
        return self._doubled.get(at, self._taken[at])

    def _give_up_line(
        self, rows: list[list[str]], broken: dict[int, tuple[str, str]], doomed: int | None
    ) -> None:
        """Make a record of its own of the one line at which the csv module stopped, and read on behind it.

        Of the lines behind it that were taken so many are doomed; None for all of them.
        """
        taken, ends = self._taken, self._ends
        start = ends[-1] if ends else 0
        length = sum(map(len, taken[start:]))
        behind = taken[start + 1 :]
        if doomed is None:
            doomed = len(behind) or self._doomed
        self._push_back(behind, doomed)
        del taken[start + 1 :]
        self._doubled = {at: line for at, line in self._doubled.items() if at < start}
        if "\0" in taken[start]:
            broken[len(rows)] = ("encoding", "the record holds a NUL character")
        elif self._exhausted or length > FIELD_LIMIT:
            broken[len(rows)] = ("quoting", _NO_END)
        else:
            broken[len(rows)] = ("quoting", _OUT_OF_PLACE)
        rows.append([taken[start]])
        ends.append(start + 1)

    def _batch(self, rows: list[list[str]], ends: Sequence[int], broken: dict[int, tuple[str, str]]) -> Batch:
        taken = self._taken
        starts = [0, *ends[:-1]]
        originals: dict[int, str] = {}
        if self._doubled:
            of_line = {line: index for index, (a, b) in enumerate(zip(starts, ends)) for line in range(a, b)}
            originals = {
                index: ended("".join(taken[starts[index] : ends[index]]))
                for index in {of_line[line] for line in self._doubled}
            }
            taken = [self._line_text(at) for at in range(len(taken))]
            self._doubled = {}
        texts = taken[:] if len(ends) == len(taken) else ["".join(taken[a:b]) for a, b in zip(starts, ends)]
        if "\r" in "".join(texts) or not texts[-1].endswith("\n"):
            texts = [ended(text) for text in texts]
        lines = [self._line + 1 + start for start in starts]
        self._line += len(taken)
        self._taken = []
        blank = 0
        if not all(rows):
            full = [index for index, row in enumerate(rows) if row]
            place = {index: at for at, index in enumerate(full)}
            blank = len(rows) - len(full)
            broken = {place[index]: why for index, why in broken.items()}
            originals = {place[index]: text for index, text in originals.items()}
            rows = [rows[index] for index in full]
            texts = [texts[index] for index in full]
            lines = [lines[index] for index in full]
        batch = Batch(rows, texts, self._record + 1, lines, broken, blank, originals)
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
