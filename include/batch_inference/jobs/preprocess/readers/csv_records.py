"""Reads CSV records one by one, exactly, and keeps their original text.

Fields are those of the standard library's csv module in strict mode: after the quote that closes a field comes a
delimiter or the end of the line. Anything else rejects the line on which the record began, and no other: reading goes
on with the next line. The text of a record is the physical lines that it took, quoted line
breaks included, ended by one line feed whatever ended it before, and quotes doubled whatever escaped them before.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from itertools import islice
from typing import Iterable, Iterator, Sequence

from batch_inference.jobs.common.csv_reading import (
    compile_record_pattern,
    compile_unclosed_line_pattern,
    create_csv_reader,
)
from batch_inference.jobs.preprocess.readers.batch import BATCH_RECORDS, ParsedRecords, end_with_line_feed
from batch_inference.jobs.preprocess.rejects import Reject

# The longest quoted field, in characters. Without a limit one stray quote takes the rest of its object.
MAX_FIELD_CHARACTERS = 1 << 20
_UNCLOSED_QUOTE = f"a field of this line has no end within {MAX_FIELD_CHARACTERS:,} characters of its object"
_OUT_OF_PLACE = (
    "a quote of this line is out of place: a field has quotes around all of it or none, and within quotes a quote is "
    "doubled, or escaped as input.escape says"
)


class MoreLinesError(Exception):
    """Raised by the lines of a CsvRecordReader where they end, though the object goes on."""


class _OutOfPlaceError(csv.Error):
    """The record is malformed, whatever follows.

    So is a record that begins after its first line and continues within the next `failed_count` lines.
    """

    def __init__(self, failed_count: int) -> None:
        super().__init__("a quote is out of place")
        self.failed_count = failed_count


class CsvRecordReader:
    """Reads the lines of one object (each with its own line end) as records, in batches.

    Attributes:
        unfinished_count: if `lines` raised MoreLinesError, how many of the last lines do not belong to a record that
            was read.
    """

    def __init__(self, lines: Iterable[str], delimiter: str, escape: str | None = None) -> None:
        self._source = iter(lines)
        self._delimiter = delimiter
        self._escapes = QuoteRewriter(escape, delimiter) if escape else None
        self._is_strict = compile_record_pattern(delimiter).fullmatch
        self._is_unclosed_line = compile_unclosed_line_pattern(delimiter).fullmatch
        self._pushed_back: deque[str] = deque()  # lines to read again, after a quote that is out of place
        # How many of these lines lie within quotes of a malformed record. A record that begins in one of them and
        # continues in another fails at the same place, so it is not read up to there again.
        self._failed_lines = 0
        self._taken: list[str] = []  # lines given to the csv module for the current batch
        self._rewritten: dict[int, str] = {}  # by index: lines with escaped quotes, with quotes doubled
        self._ends: list[int] = []  # after each record: how many lines of the current batch are taken
        self._exhausted = False  # the csv module asked for a line after the last one
        self.unfinished_count = 0
        self._line = 0  # lines of earlier batches
        self._record = 0  # records of earlier batches

    @property
    def lines_to_repeat(self) -> int:
        """How many lines that were read are read again, before the next one of the source."""
        return len(self._pushed_back)

    def skip_lines(self, count: int) -> None:
        """Count lines that are not read here."""
        self._line += count

    def _push_back(self, lines: Sequence[str], failed_count: int) -> None:
        """Put lines back; `failed_count` of them and of those after them are within quotes of a malformed record."""
        self._pushed_back.extendleft(reversed(lines))
        self._failed_lines = failed_count

    def read_records(self, limit: int = BATCH_RECORDS) -> ParsedRecords | None:
        """Read the next records, at most `limit`; None if there is no whole record any more."""
        rows: list[list[str]] = []
        broken: dict[int, Reject] = {}
        self._taken, self._ends = [], []
        ends = self._ends
        is_whole = False  # the object
        source = self._new_reader()
        while len(rows) < limit and not is_whole:
            is_stopped, failed_count = True, None
            try:
                for row in islice(source, limit - len(rows)):
                    if len(self._taken) - (ends[-1] if ends else 0) > 1 and not self._has_strict_quotes():
                        break
                    rows.append(row)
                    ends.append(len(self._taken))
                else:
                    is_stopped = False
            except _OutOfPlaceError as error:
                failed_count = error.failed_count
            except csv.Error as error:
                if "limit" in str(error):
                    failed_count = self._failed_lines  # a field that begins later may be shorter
            except MoreLinesError:
                start = ends[-1] if ends else 0
                self.unfinished_count = len(self._taken) - start + len(self._pushed_back)
                self._forget_rewritten(start)
                del self._taken[start:]
                self._pushed_back.clear()
                break
            is_whole = self._exhausted and not is_stopped
            if is_stopped:
                self._reject_line(rows, broken, failed_count)
                source = self._new_reader()
        return self._collect(rows, ends, broken) if rows else None

    def _new_reader(self) -> Iterator[list[str]]:
        self._exhausted = False
        return create_csv_reader(self._iter_lines(), self._delimiter, MAX_FIELD_CHARACTERS, strict=True)

    def _iter_lines(self) -> Iterator[str]:
        pushed = self._pushed_back
        while True:
            while pushed:
                is_failed = self._failed_lines > 0
                self._failed_lines -= is_failed
                yield self._hand_over_line(pushed.popleft(), is_failed)
            for line in self._source:
                yield self._hand_over_line(line, False)
                if pushed:
                    break
            else:
                self._exhausted = True
                return

    def _hand_over_line(self, line: str, is_failed: bool) -> str:
        """Record a line as taken; returns the text that the csv module parses."""
        taken = self._taken
        taken.append(line)
        # The csv module asks for another line of a record only within quotes.
        start = self._ends[-1] if self._ends else 0
        is_within = len(taken) - 1 > start
        if is_failed and is_within:
            raise _OutOfPlaceError(self._failed_lines + 1)
        before = len(taken) - 2
        if is_within and not self._is_unclosed_line(
            ('"' if before > start else "") + self._line_text(before)
        ):
            raise _OutOfPlaceError(before - start)
        if self._escapes is None:
            return line
        doubled = self._escapes.double_quotes(line, is_within)
        if doubled != line:
            self._rewritten[len(taken) - 1] = doubled
        return doubled

    def _has_strict_quotes(self) -> bool:
        """Whether the last record, of several lines, has quotes around fields alone; all lines but its last have.

        In a record of one line a quote within a field is a character like any other. Over several lines it may be the
        one that opens the next record's field, where an earlier line opened one and did not close it.
        """
        return self._is_strict('"' + self._line_text(len(self._taken) - 1)) is not None

    def _forget_rewritten(self, start: int) -> None:
        """Forget what was rewritten of the lines taken from `start` on."""
        for at in range(start, len(self._taken)):
            self._rewritten.pop(at, None)

    def _line_text(self, at: int) -> str:
        return self._rewritten.get(at, self._taken[at])

    def _reject_line(
        self, rows: list[list[str]], broken: dict[int, Reject], failed_count: int | None
    ) -> None:
        """Reject the line at which the malformed record begins, and read on after it.

        `failed_count` of the lines taken after it are within quotes of the malformed record; None for all of them.
        """
        taken, ends = self._taken, self._ends
        start = ends[-1] if ends else 0
        length = sum(map(len, taken[start:]))
        behind = taken[start + 1 :]
        if failed_count is None:
            failed_count = len(behind) or self._failed_lines
        self._forget_rewritten(start)
        self._push_back(behind, failed_count)
        del taken[start + 1 :]
        if "\0" in taken[start]:
            broken[len(rows)] = Reject("encoding", "the record holds a NUL character")
        elif self._exhausted or length > MAX_FIELD_CHARACTERS:
            broken[len(rows)] = Reject("quoting", _UNCLOSED_QUOTE)
        else:
            broken[len(rows)] = Reject("quoting", _OUT_OF_PLACE)
        rows.append([taken[start]])
        ends.append(start + 1)

    def _collect(
        self, rows: list[list[str]], ends: Sequence[int], broken: dict[int, Reject]
    ) -> ParsedRecords:
        taken = self._taken
        starts = [0, *ends[:-1]]
        originals: dict[int, str] = {}
        if self._rewritten:
            of_line = {line: index for index, (a, b) in enumerate(zip(starts, ends)) for line in range(a, b)}
            originals = {
                index: end_with_line_feed("".join(taken[starts[index] : ends[index]]))
                for index in {of_line[line] for line in self._rewritten}
            }
            taken = [self._line_text(at) for at in range(len(taken))]
            self._rewritten = {}
        texts = taken[:] if len(ends) == len(taken) else ["".join(taken[a:b]) for a, b in zip(starts, ends)]
        if "\r" in "".join(texts) or not texts[-1].endswith("\n"):
            texts = [end_with_line_feed(text) for text in texts]
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
        parsed = ParsedRecords(rows, texts, self._record + 1, lines, broken, blank, originals)
        self._record += len(rows)
        return parsed


class QuoteRewriter:
    """Rewrites escaped quotes, as Spark writes them by default, to doubled quotes.

    Within quotes the escape character escapes a quote and itself; before any other character, and outside of quotes, it
    is literal: Spark, Hive and PostgreSQL (`COPY … ESCAPE`) agree on that. `escapechar` of the csv module would remove
    it from `C:\\temp` as well.
    """

    def __init__(self, escape: str, delimiter: str) -> None:
        self._escape = escape
        one = re.escape(escape)
        # The content within quotes, up to the closing quote or the end of the line.
        content = rf'(?:[^"{one}]+|{one}.?|"")*'
        self._delimiter = delimiter
        self._field = re.compile(rf'({re.escape(delimiter)}")({content})', re.DOTALL)
        self._pair = re.compile(rf'{one}(["{one}])')

    def double_quotes(self, line: str, is_within_quotes: bool) -> str:
        """Double the escaped quotes of a line; `is_within_quotes`: the line begins within quotes."""
        if self._escape not in line:
            return line
        # The end of a line that begins within quotes is read like a field after a delimiter.
        first = self._delimiter + '"' if is_within_quotes else self._delimiter
        return self._field.sub(self._rewrite_field, first + line)[len(first) :]

    def _rewrite_field(self, field: re.Match[str]) -> str:
        return field[1] + self._pair.sub(lambda found: '""' if found[1] == '"' else self._escape, field[2])
