"""Reads JSON Lines as records, one object for each line, and keeps their original text.

Members become cells: a number keeps its digits, null and a missing member are empty, booleans become `true` and
`false`, an array or object stays JSON.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterable, Sequence

from batch_inference.jobs.common.json_reading import decode_object, to_cell
from batch_inference.jobs.preprocess.readers.batch import ParsedRecords, end_with_line_feed
from batch_inference.jobs.preprocess.rejects import Reject


class JsonRecordReader:
    """Reads the lines of one object as records with the members `names`, in batches.

    Attributes:
        line_count: lines read so far.
        unseen_names: those of `names` that no record has so far.
        seen_members: members of the records read while `unseen_names` was not empty.
    """

    def __init__(self, lines: Iterable[str], names: Sequence[str]) -> None:
        self._source = iter(lines)
        self._names = tuple(names)
        self.line_count = 0
        self._record = 0
        self.unseen_names = set(names)
        self.seen_members: set[str] = set()

    def read_records(self, limit: int) -> ParsedRecords | None:
        """Read the next records, at most `limit`; None at the end of the object."""
        lines = list(islice(self._source, limit))
        if not lines:
            return None
        parsed = ParsedRecords([], [], self._record + 1, [])
        for number, line in enumerate(lines, start=self.line_count + 1):
            if not line.strip():
                parsed.blank_lines += 1
                continue
            row, problem = self._parse_row(line)
            if problem:
                parsed.malformed[len(parsed.rows)] = Reject("json", problem)
            parsed.rows.append(row)
            parsed.texts.append(end_with_line_feed(line))
            parsed.line_numbers.append(number)
        self.line_count += len(lines)
        self._record += len(parsed.rows)
        return parsed

    def _parse_row(self, line: str) -> tuple[list[str], str]:
        try:
            record = decode_object(line.strip(" \t\r\n"))
        except ValueError as error:
            return [], f"the line {error}"
        if self.unseen_names:
            self.unseen_names.difference_update(record)
            self.seen_members.update(record)
        row = [to_cell(record.get(name)) or "" for name in self._names]
        if "\\u" in line and "\0" in "".join(row):
            return [], "the line contains an escaped NUL character"
        return row, ""
