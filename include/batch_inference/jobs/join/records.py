"""A block of a shard's records, parsed into cells on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from batch_inference.jobs.common.arrow import find_arrow
from batch_inference.jobs.common.binary_formats import BYTE_ORDER_MARK
from batch_inference.jobs.common.blocks import Block
from batch_inference.jobs.common.cell_types import FALSE_WORDS, TRUE_WORDS
from batch_inference.jobs.common.csv_reading import UnreadableRecordError, find_empty_strings, parse_rows
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.json_reading import Cell, decode_object, to_cell
from batch_inference.jobs.config.join_spec import JoinSpec

_TRUE_TEXTS, _FALSE_TEXTS = (
    [form for word in words for form in dict.fromkeys((word, word.title(), word.upper()))]
    for words in (TRUE_WORDS, FALSE_WORDS)
)


@dataclass
class RecordBlock:
    """Consecutive records of one shard; `first_record` is the number of the first one within its shard, from 1."""

    spec: JoinSpec
    shard: str
    first_record: int
    columns: tuple[str, ...]
    block: Block
    _cells: dict[str, Sequence[Cell]] | None = field(default=None, init=False)

    @property
    def record_count(self) -> int:
        return self.block.record_count

    def label(self, index: int) -> str:
        """Name the record at this index of the block in a message."""
        return f"shard {self.shard}, record {self.first_record + index:,}"

    def read_cells(self) -> dict[str, Sequence[Cell]]:
        """Parse the cells of each column, None for null. Raises JoinError for a record with other columns."""
        if self._cells is None:
            rows = self._csv_rows() if self.spec.records_format == "csv" else self._json_rows()
            self._cells = dict(zip(self.columns, zip(*rows))) if rows else dict.fromkeys(self.columns, ())
        return self._cells

    def read_columns(self, column_names: Sequence[str]) -> dict[str, Sequence[Cell]]:
        """Parse the cells of some columns; nulls for one that the records lack. Uses Arrow where possible."""
        absent: tuple[Cell, ...] = (None,) * self.record_count
        arrow, table = find_arrow(), None
        if arrow and self._cells is None and self.spec.records_format == "csv":
            table = self.read_arrow_table(arrow, dict.fromkeys(column_names, arrow.string()))
        cells = self.read_cells() if table is None else table.to_pydict()
        return {name: cells.get(name, absent) for name in column_names}

    def read_arrow_table(self, arrow: Any, types: Mapping[str, Any]) -> Any:
        """Read columns of CSV records with Arrow; `types` has their Arrow types.

        None if Arrow rejects a cell that the rules accept ("+5", a date with spaces), or finds other rows.
        """
        data = self.block.data
        wanted = [name for name in self.columns if name in types]
        if not wanted or data.startswith(BYTE_ORDER_MARK):
            return None
        try:
            table = arrow.csv.read_csv(
                arrow.BufferReader(data),
                read_options=arrow.csv.ReadOptions(
                    column_names=list(self.columns), use_threads=False, block_size=len(data) + 1
                ),
                parse_options=arrow.csv.ParseOptions(
                    delimiter=self.spec.delimiter, newlines_in_values=True, ignore_empty_lines=False
                ),
                convert_options=arrow.csv.ConvertOptions(
                    column_types={name: types[name] for name in wanted},
                    include_columns=wanted,
                    null_values=[""],
                    true_values=_TRUE_TEXTS,
                    false_values=_FALSE_TEXTS,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=not self.spec.has_quoted_empty_strings,
                ),
            )
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            return None
        return table if table.num_rows == self.record_count else None

    def split_lines(self) -> list[bytes]:
        """Split the block into the bytes of each record, without line feed."""
        lines = self.block.data.split(b"\n")
        if len(lines) == self.record_count + 1:
            return lines[:-1]
        return [self.block.get_record(index) for index in range(self.record_count)]

    def _csv_rows(self) -> list[list[Cell]]:
        try:
            rows = parse_rows(self.block, self.spec.delimiter)
        except UnreadableRecordError as error:
            raise JoinError(f"{self.label(error.index)} {error}") from error
        if self.spec.has_quoted_empty_strings and len(self.columns) == 1:
            rows = [row or [""] for row in rows]  # an empty line is a null
        for index, row in enumerate(rows):
            if len(row) != len(self.columns):
                names = ", ".join(self.columns)
                raise JoinError(f"{self.label(index)}: {len(row)} fields, its columns are {names}")
        cells: list[list[Cell]] = [[cell or None for cell in row] for row in rows]
        if self.spec.has_quoted_empty_strings and b'""' in self.block.data:
            for index, nullable in enumerate(cells):
                record = self.block.get_record(index)
                if b'""' in record and None in nullable:
                    spelled = find_empty_strings(record.decode("utf-8"), self.spec.delimiter)
                    cells[index] = ["" if is_empty else cell for cell, is_empty in zip(nullable, spelled)]
        return cells

    def _json_rows(self) -> list[list[Cell]]:
        rows: list[list[Cell]] = []
        for index, line in enumerate(self.split_lines()):
            try:
                record = decode_object(line.decode("utf-8"))
            except ValueError as error:
                raise JoinError(f"{self.label(index)} {error}") from error
            rows.append([to_cell(record.get(name)) for name in self.columns])
        return rows
