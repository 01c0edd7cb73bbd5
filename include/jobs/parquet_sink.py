"""Joined rows as Parquet: one schema for all shards, pinned by the specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from include.jobs.answers import Taken
from include.jobs.arrow import require_arrow
from include.jobs.errors import JoinError
from include.jobs.join_spec import JoinSpec
from include.jobs.records import Cell, Records
from include.jobs.sink import Sink

# Of a row group, as Arrow holds it: enough to be worth reading, little enough to be held.
ROW_GROUP_BYTES = 12 << 20


class ParquetSink(Sink):
    """Strings stay exact, an empty cell is a null."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        pyarrow = self._arrow = self.require()
        self._types = {
            "string": pyarrow.string(),
            "json": pyarrow.string(),
            "integer": pyarrow.int64(),
            "float": pyarrow.float64(),
        }
        self._schema = pyarrow.schema(
            [(column.name, self._types[column.type]) for column in spec.output_columns]
        )
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._waiting_bytes = 0

    @classmethod
    def require(cls) -> Any:
        return require_arrow("join.format is parquet")

    def prepare(self, records: Records, taken: Taken) -> Any:
        table = None
        if self.spec.records_format == "csv":
            table = records.arrow_table(
                self._arrow, {kept.source: self._types[kept.column.type] for kept in self.spec.kept}
            )
        if table is None:
            table = self._cell_table(records)
        arrays = []
        for kept in self.spec.kept:
            if kept.source in records.columns:
                arrays.append(table.column(kept.source))
            else:
                arrays.append(self._arrow.nulls(records.count, self._types[kept.column.type]))
        answers = taken.arrays(self._arrow)
        if answers is None:
            answers = [
                self._arrow.array(_converted(texts, column.type), self._types[column.type])
                for column, texts in zip(self.spec.columns_of_answers, taken.texts())
            ]
        # Not pyarrow.table(), which imports pandas to see whether it was given a data frame.
        return self._arrow.Table.from_arrays([*arrays, *answers], schema=self._schema)

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        arrays = [
            self._arrow.array(_converted(cells[column.name], column.type), self._types[column.type])
            for column in self.spec.output_columns
        ]
        return self._arrow.Table.from_arrays(arrays, schema=self._schema)

    def write(self, prepared: Any) -> None:
        self._waiting.append(prepared)
        self._waiting_bytes += prepared.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _cell_table(self, records: Records) -> Any:
        kinds = {column.name: column.type for column in self.spec.columns}
        arrays = []
        name = ""
        try:
            for name, cells in records.cells().items():
                arrays.append(self._arrow.array(_converted(cells, kinds[name]), self._types[kinds[name]]))
        except (ValueError, OverflowError) as error:
            raise JoinError(
                f"shard {records.shard}, records from {records.first:,} on: "
                f"column {name} is not {kinds[name]} throughout: {error}"
            ) from error
        return self._arrow.Table.from_arrays(arrays, names=list(records.columns))

    def _write(self) -> None:
        if self._writer is None:
            first = self._waiting[0] if self._waiting else self._schema.empty_table()
            self._writer = self._arrow.parquet.ParquetWriter(
                self.path, self._schema, use_dictionary=_repetitive(first), compression="snappy"
            )
        if self._waiting:
            table = self._arrow.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._waiting_bytes = [], 0


def _repetitive(table: Any) -> list[str]:
    """The columns worth a dictionary; for others it costs three times the encoding and a larger file."""
    most = min(10_000, max(1, table.num_rows) // 4)
    return [name for name in table.column_names if len(table.column(name).unique()) < most]


def _converted(cells: Sequence[Cell], kind: str) -> list[Any]:
    if kind in ("string", "json"):
        return list(cells)
    convert: Callable[[str], float] = int if kind == "integer" else float
    return [convert(cell) if cell and cell.strip() else None for cell in cells]
