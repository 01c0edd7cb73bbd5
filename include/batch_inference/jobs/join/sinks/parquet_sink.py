"""Writes joined rows as Parquet, with one schema for all shards, given by the specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from batch_inference.jobs.common.arrow import require_arrow
from batch_inference.jobs.common.errors import JoinError
from batch_inference.jobs.common.json_reading import Cell
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.prediction_reader import PredictionBatch
from batch_inference.jobs.join.records import RecordBlock
from batch_inference.jobs.join.sinks.sink import Sink

# Size of a row group in Arrow's memory: large enough for efficient reads, small enough to buffer.
ROW_GROUP_BYTES = 12 << 20


class ParquetSink(Sink):
    """Writes Parquet; strings stay exact, an empty cell is a null."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        pyarrow = self._arrow = require_arrow("join.format is parquet")
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

    def prepare(self, records: RecordBlock, predictions: PredictionBatch) -> Any:
        table = None
        if self.spec.records_format == "csv":
            table = records.read_arrow_table(
                self._arrow,
                {
                    kept.record_column: self._types[kept.output_column.type]
                    for kept in self.spec.published_columns
                },
            )
        if table is None:
            table = self._build_cell_table(records)
        arrays = []
        for kept in self.spec.published_columns:
            if kept.record_column in records.columns:
                arrays.append(table.column(kept.record_column))
            else:
                arrays.append(self._arrow.nulls(records.record_count, self._types[kept.output_column.type]))
        prediction_arrays = predictions.read_arrow_columns(self._arrow)
        if prediction_arrays is None:
            prediction_arrays = [
                self._arrow.array(_convert_cells(texts, column.type), self._types[column.type])
                for column, texts in zip(self.spec.prediction_columns, predictions.read_texts())
            ]
        # Not pyarrow.table(), which imports pandas to check for a DataFrame.
        return self._arrow.Table.from_arrays([*arrays, *prediction_arrays], schema=self._schema)

    def prepare_cells(self, cells: Mapping[str, Sequence[Cell]]) -> Any:
        arrays = [
            self._arrow.array(_convert_cells(cells[column.name], column.type), self._types[column.type])
            for column in self.spec.output_columns
        ]
        return self._arrow.Table.from_arrays(arrays, schema=self._schema)

    def write(self, prepared: Any) -> None:
        self._waiting.append(prepared)
        self._waiting_bytes += prepared.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        self._write_row_group()
        self._writer.close()

    def _build_cell_table(self, records: RecordBlock) -> Any:
        kinds = {column.name: column.type for column in self.spec.columns}
        arrays = []
        name = ""
        try:
            for name, cells in records.read_cells().items():
                arrays.append(self._arrow.array(_convert_cells(cells, kinds[name]), self._types[kinds[name]]))
        except (ValueError, OverflowError) as error:
            raise JoinError(
                f"shard {records.shard}, records from {records.first_record:,} on: "
                f"column {name} is not {kinds[name]} throughout: {error}"
            ) from error
        return self._arrow.Table.from_arrays(arrays, names=list(records.columns))

    def _write_row_group(self) -> None:
        if self._writer is None:
            first = self._waiting[0] if self._waiting else self._schema.empty_table()
            self._writer = self._arrow.parquet.ParquetWriter(
                self.path, self._schema, use_dictionary=_find_repetitive_columns(first), compression="snappy"
            )
        if self._waiting:
            table = self._arrow.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._waiting_bytes = [], 0


def _find_repetitive_columns(table: Any) -> list[str]:
    """Find the columns worth a dictionary; for others encoding takes three times as long and the file is larger."""
    most = min(10_000, max(1, table.num_rows) // 4)
    return [name for name in table.column_names if len(table.column(name).unique()) < most]


def _convert_cells(cells: Sequence[Cell], kind: str) -> list[Any]:
    if kind in ("string", "json"):
        return list(cells)
    convert: Callable[[str], float] = int if kind == "integer" else float
    return [convert(cell) if cell and cell.strip() else None for cell in cells]
