"""JSON Lines as records: one object a line, its text kept to the letter.

Members become cells: a number keeps its digits, null and a missing member are empty, true and false are spelled so,
an array or object stays JSON.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Iterable, Sequence

from include.jobs.batch import Batch, ended
from include.jobs.json_reading import decode_record, dumps


class JsonRecords:
    """Reads the lines of one object as records with the members `names`, in batches.

    Attributes:
        absent: those of `names` that no record had so far.
        members: what the records have, as far as they were looked at for `absent`.
    """

    def __init__(self, lines: Iterable[str], names: Sequence[str]) -> None:
        self._source = iter(lines)
        self._names = tuple(names)
        self._line = 0
        self._record = 0
        self.absent = set(names)
        self.members: set[str] = set()

    def take(self, limit: int) -> Batch | None:
        """The next records, at most `limit`; None at the end of the object."""
        lines = list(islice(self._source, limit))
        if not lines:
            return None
        batch = Batch([], [], self._record + 1, [])
        for number, line in enumerate(lines, start=self._line + 1):
            if not line.strip():
                batch.blank += 1
                continue
            row, problem = self._row(line)
            if problem:
                batch.broken[len(batch.rows)] = ("json", problem)
            batch.rows.append(row)
            batch.texts.append(ended(line))
            batch.lines.append(number)
        self._line += len(lines)
        self._record += len(batch.rows)
        return batch

    def _row(self, line: str) -> tuple[list[str], str]:
        try:
            record = decode_record(line.strip(" \t\r\n"))
        except json.JSONDecodeError as error:
            return [], f"the line is not JSON: {error.msg} at character {error.pos + 1}"
        except ValueError as error:
            return [], f"the line is not JSON: {error}"
        if not isinstance(record, dict):
            return [], "the line is JSON, but not an object"
        if self.absent:
            self.absent.difference_update(record)
            self.members.update(record)
        row = [json_cell(record.get(name)) for name in self._names]
        if "\\u" in line and "\0" in "".join(row):
            return [], "the line escapes NUL, which is not text"
        return row, ""


def json_cell(value: Any) -> str:
    """A JSON value as the text of a cell; numbers come as texts already."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return dumps(value)
