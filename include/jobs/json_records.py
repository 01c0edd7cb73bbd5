"""JSON Lines as records: one object a line, its text kept to the letter.

Members become cells: a number keeps its digits, null and a missing member are empty, true and false are spelled so,
an array or object stays JSON.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Iterable, Sequence

from include.jobs.batch import Batch, ended


class Number(str):
    """A JSON number as it was written."""


class JsonRecords:
    """Reads the lines of one object as records with the members `names`, in batches."""

    def __init__(self, lines: Iterable[str], names: Sequence[str]) -> None:
        self._source = iter(lines)
        self._names = tuple(names)
        self._line = 0
        self._record = 0

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
            record = json.loads(
                line.strip(" \t\r\n"), parse_float=Number, parse_int=Number, parse_constant=Number
            )
        except json.JSONDecodeError as error:
            return [], f"the line is not JSON: {error.msg} at character {error.pos + 1}"
        except (ValueError, RecursionError) as error:
            return [], f"the line is not JSON: {error}"
        if not isinstance(record, dict):
            return [], "the line is JSON, but no object"
        row = [json_cell(record.get(name)) for name in self._names]
        if "\\u" in line and not _is_text("".join(row)):
            return [], "the line escapes half a surrogate pair or NUL, which are no text"
        return row, ""


def _is_text(cells: str) -> bool:
    return "\0" not in cells and not any("\ud800" <= character <= "\udfff" for character in cells)


def json_cell(value: Any) -> str:
    """A JSON value as the text of a cell; numbers come as texts already."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return dumps(value)


def dumps(value: Any) -> str:
    """Nested JSON as text, its numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(key, ensure_ascii=False)}: {dumps(one)}" for key, one in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
