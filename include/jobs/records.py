"""A block of a shard's records, read as cells only by those who need them."""

from __future__ import annotations

import csv
import io
from typing import Optional, Sequence

from include.jobs.blocks import Block
from include.jobs.errors import JoinError
from include.jobs.join_spec import JoinSpec
from include.jobs.json_records import dumps
from include.jobs.members import decode

Cell = Optional[str]


class Records:
    """Consecutive records of one shard.

    Attributes:
        first: the number of the first within its shard, from 1.
        columns: what they have, in their order.
        block: their own bytes.
    """

    def __init__(
        self, spec: JoinSpec, shard: str, first: int, columns: tuple[str, ...], block: Block
    ) -> None:
        self.spec = spec
        self.shard = shard
        self.first = first
        self.columns = columns
        self.block = block
        self._cells: dict[str, Sequence[Cell]] | None = None

    @property
    def count(self) -> int:
        return self.block.count

    def cells(self) -> dict[str, Sequence[Cell]]:
        """The text of each cell by column, None for null; raises JoinError for a record of another shape."""
        if self._cells is None:
            rows = self._csv_rows() if self.spec.records_format == "csv" else self._json_rows()
            self._cells = dict(zip(self.columns, zip(*rows))) if rows else dict.fromkeys(self.columns, ())
        return self._cells

    def lines(self) -> list[bytes]:
        """Each record's own bytes, without line feed."""
        lines = self.block.data.split(b"\n")
        if len(lines) == self.count + 1:
            return lines[:-1]
        return [self.block.record(index) for index in range(self.count)]

    def _csv_rows(self) -> list[list[Cell]]:
        text = self.block.data.decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.spec.delimiter))
        if len(rows) != self.count:
            raise JoinError(
                f"shard {self.shard}: {self.count} records from {self.first} on read as {len(rows)}"
            )
        for index, row in enumerate(rows):
            if len(row) != len(self.columns):
                raise JoinError(
                    f"shard {self.shard}, record {self.first + index:,}: {len(row)} fields, "
                    f"its columns are {', '.join(self.columns)}"
                )
        return [[cell or None for cell in row] for row in rows]

    def _json_rows(self) -> list[list[Cell]]:
        rows: list[list[Cell]] = []
        for index, line in enumerate(self.lines()):
            try:
                record = decode(line.decode("utf-8"))
            except ValueError as error:
                raise JoinError(
                    f"shard {self.shard}, record {self.first + index:,} is not JSON: {error}"
                ) from error
            if not isinstance(record, dict):
                raise JoinError(f"shard {self.shard}, record {self.first + index:,} is no JSON object")
            rows.append([_cell(record.get(name)) for name in self.columns])
        return rows


def _cell(value: object) -> Cell:
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)
    return dumps(value)
