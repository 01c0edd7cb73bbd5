"""Where joined rows go: CSV with the records' own text, Parquet with one schema for all shards, JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

from include.jobs.blocks import Block
from include.jobs.errors import ConfigError, JoinError
from include.jobs.join_spec import JoinSpec

# Rows of a Parquet row group: enough to be worth reading, few enough to be held.
ROW_GROUP = 131_072
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class Sink:
    """Writes rows to one file. `add` gets a block of records, their columns and the texts of each prediction field."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        self.path = path
        self.spec = spec

    def add(
        self, shard: str, first: int, columns: Sequence[str], block: Block, texts: list[list[str]]
    ) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def rows(self, shard: str, first: int, columns: Sequence[str], block: Block) -> list[list[str]]:
        """The cells of each record; raises JoinError for one that has not as many as the shard has columns."""
        text = block.data.decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.spec.delimiter))
        if len(rows) != block.count:
            raise JoinError(f"shard {shard}: {block.count} records from {first} on read as {len(rows)}")
        for index, row in enumerate(rows):
            if len(row) != len(columns):
                raise JoinError(
                    f"shard {shard}, record {first + index:,}: {len(row)} fields, its columns are {', '.join(columns)}"
                )
        return rows


class CsvSink(Sink):
    """A header, then each record's own bytes with the predictions behind it."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._delimiter = spec.delimiter.encode()
        self._file = path.open("wb")
        self._file.write(self._line([column.name for column in spec.output_columns]) + b"\n")

    def add(
        self, shard: str, first: int, columns: Sequence[str], block: Block, texts: list[list[str]]
    ) -> None:
        names = [column.name for column in self.spec.columns]
        # Records whose last columns were left out keep their bytes too: what is missing follows empty.
        missing = len(names) - len(columns)
        if list(columns) == names[: len(columns)]:
            records = self._bytes(block)
        else:
            place = {name: index for index, name in enumerate(columns)}
            records = [
                self._line([row[place[name]] if name in place else "" for name in names])
                for row in self.rows(shard, first, columns, block)
            ]
            missing = 0
        quoted = [
            self._cells(column) if field.column.type == "string" else [text.encode() for text in column]
            for field, column in zip(self.spec.fields, texts)
        ]
        gap = self._delimiter * (missing + 1)
        answers = quoted[0] if len(quoted) == 1 else list(map(self._delimiter.join, zip(*quoted)))
        self._file.write(
            b"".join([b"%b%b%b\n" % (record, gap, answer) for record, answer in zip(records, answers)])
        )

    def close(self) -> None:
        self._file.close()

    def _bytes(self, block: Block) -> list[bytes]:
        lines = block.data.split(b"\n")
        if len(lines) == block.count + 1:
            return lines[:-1]
        return [block.record(index) for index in range(block.count)]

    def _line(self, cells: Iterable[str]) -> bytes:
        line = io.StringIO()
        # With a carriage return in the line end, the csv module puts cells that hold one into quotes.
        csv.writer(line, delimiter=self.spec.delimiter, lineterminator="\r\n").writerow(cells)
        return line.getvalue()[:-2].encode("utf-8")

    def _cells(self, texts: Iterable[str]) -> list[bytes]:
        return [self._line([text, ""])[: -len(self._delimiter)] for text in texts]


class JsonSink(Sink):
    """One JSON object a row; numbers as they were written wherever JSON allows it."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        self._file = path.open("wb")

    def add(
        self, shard: str, first: int, columns: Sequence[str], block: Block, texts: list[list[str]]
    ) -> None:
        cells: dict[str, Sequence[str]] = dict(zip(columns, zip(*self.rows(shard, first, columns, block))))
        members: list[list[str]] = []
        for column in self.spec.columns:
            values = cells.get(column.name, ("",) * block.count)
            members.append(
                _members(column.name, map(_json_text if column.type == "string" else _json_number, values))
            )
        for field, answers in zip(self.spec.fields, texts):
            convert = _quoted if field.column.type == "string" else _json_number
            members.append(_members(field.column.name, map(convert, answers)))
        lines = ["{" + ", ".join(row) + "}\n" for row in zip(*members)]
        self._file.write("".join(lines).encode("utf-8"))

    def close(self) -> None:
        self._file.close()


def _members(name: str, values: Iterable[str]) -> list[str]:
    key = _quoted(name)
    return [f"{key}: {value}" for value in values]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_text(cell: str) -> str:
    return _quoted(cell) if cell else "null"


def _json_number(cell: str) -> str:
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    cell = cell.strip()
    if not cell:
        return "null"
    return str(int(cell)) if cell.lstrip("+-").isdigit() else repr(float(cell))


class ParquetSink(Sink):
    """One schema, pinned by the specification: strings stay exact, a null is an unquoted empty cell."""

    def __init__(self, path: Path, spec: JoinSpec) -> None:
        super().__init__(path, spec)
        try:
            import pyarrow
            import pyarrow.csv
            import pyarrow.parquet
        except ImportError as error:
            raise ConfigError(
                "Parquet output needs pyarrow, which is not installed here; choose csv or jsonl"
            ) from error
        self._arrow: Any = pyarrow
        self._types = {"string": pyarrow.string(), "integer": pyarrow.int64(), "float": pyarrow.float64()}
        self._schema = pyarrow.schema(
            [(column.name, self._types[column.type]) for column in spec.output_columns]
        )
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def add(
        self, shard: str, first: int, columns: Sequence[str], block: Block, texts: list[list[str]]
    ) -> None:
        records = self._records(shard, first, columns, block)
        arrays = []
        for column in self.spec.columns:
            if column.name in columns:
                arrays.append(records.column(column.name))
            else:
                arrays.append(self._arrow.nulls(block.count, self._types[column.type]))
        arrays.extend(
            self._arrow.array(
                column if field.column.type == "string" else _converted(column, field.column.type),
                self._types[field.column.type],
            )
            for field, column in zip(self.spec.fields, texts)
        )
        self._waiting.append(self._arrow.table(arrays, schema=self._schema))
        self._waiting_rows += block.count
        if self._waiting_rows >= ROW_GROUP:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _records(self, shard: str, first: int, columns: Sequence[str], block: Block) -> Any:
        types = {column.name: self._types[column.type] for column in self.spec.columns}
        reading = self._arrow.csv
        try:
            table = reading.read_csv(
                self._arrow.BufferReader(block.data),
                read_options=reading.ReadOptions(
                    column_names=list(columns), use_threads=False, block_size=len(block.data) + 1
                ),
                parse_options=reading.ParseOptions(
                    delimiter=self.spec.delimiter, newlines_in_values=True, ignore_empty_lines=False
                ),
                convert_options=reading.ConvertOptions(
                    column_types={name: types[name] for name in columns},
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            if table.num_rows == block.count:
                return table
        except self._arrow.ArrowInvalid:
            pass  # Arrow is stricter about numbers than the rules were ("+5"): read cell by cell instead
        rows = self.rows(shard, first, columns, block)
        arrays = []
        for name, cells in zip(columns, zip(*rows)):
            kind = next(column.type for column in self.spec.columns if column.name == name)
            try:
                arrays.append(self._arrow.array(_converted(cells, kind), types[name]))
            except (ValueError, OverflowError) as error:
                raise JoinError(
                    f"shard {shard}, records from {first:,} on: column {name} is not {kind} throughout: {error}"
                ) from error
        return self._arrow.table(arrays, names=list(columns))

    def _write(self) -> None:
        if self._writer is None:
            first = self._waiting[0] if self._waiting else self._schema.empty_table()
            self._writer = self._arrow.parquet.ParquetWriter(
                self.path, self._schema, use_dictionary=self._repetitive(first), compression="snappy"
            )
        if self._waiting:
            self._writer.write_table(self._arrow.concat_tables(self._waiting), row_group_size=ROW_GROUP)
        self._waiting, self._waiting_rows = [], 0

    def _repetitive(self, table: Any) -> list[str]:
        """The columns worth a dictionary; for others it costs three times the encoding and a larger file."""
        rows = max(1, table.num_rows)
        return [
            name for name in table.column_names if len(table.column(name).unique()) < min(10_000, rows // 4)
        ]


def _converted(cells: Sequence[str], kind: str) -> list[Any]:
    if kind == "string":
        return [cell if cell else None for cell in cells]
    convert: Callable[[str], float] = int if kind == "integer" else float
    return [convert(cell) if cell.strip() else None for cell in cells]


SINKS: dict[str, type[Sink]] = {"csv": CsvSink, "jsonl": JsonSink, "parquet": ParquetSink}
