"""Blocks of answers, a line each, as one text for each wanted field."""

from __future__ import annotations

import json
import re
from typing import Any, Sequence

import numpy as np

from include.jobs.blocks import Block
from include.jobs.csv_reading import BYTE_ORDER_MARK, UnreadableError, rows_of
from include.jobs.errors import PredictionError
from include.jobs.join_spec import JoinSpec, PredictionField
from include.jobs.json_reading import decode_answer
from include.jobs.members import MissingError, part, shown
from include.jobs.numeric import parse_column

# How servers write in CSV that there is no number.
_NULLS = ("", "nan", "null")
_DIGITS = b"0123456789+-.eE\n"
# The name of a member that is no path into one.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = rb"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"


class JsonLines:
    """One JSON value a line."""

    delimiter = None

    def __init__(self, spec: JoinSpec) -> None:
        self._fields = spec.fields
        self._template: re.Pattern[bytes] | None = None

    def read(self, shard: str, first: int, block: Block) -> list[list[str]]:
        """For each field its texts, numbers as they were written; `first` numbers the block's first record."""
        plain = self.plain(block)
        if plain is not None:
            texts = [b"\n".join(column).decode("ascii").split("\n") for column in plain]
            return check(self._fields, shard, first, texts)
        values = []
        for index in range(block.count):
            line = block.record(index)
            try:
                values.append(decode_answer(line.decode("utf-8")))
            except ValueError as error:
                raise PredictionError(
                    shard, first + index, f"the answer {shown(line)} is not JSON: {error}"
                ) from error
        return pick(self._fields, shard, first, values)

    def plain(self, block: Block) -> list[list[bytes]] | None:
        """For each field its numbers as written, unchecked, where every answer is an object of plain numbers."""
        if self._template is None:
            self._template = self._guess(block)
        if self._template is None:
            return None
        found = self._template.findall(block.data)
        if len(found) != block.count:
            return None
        return [found] if len(self._fields) == 1 else [list(column) for column in zip(*found)]

    def arrays(self, block: Block, arrow: Any) -> list[Any] | None:
        """The columns by Arrow's own reader, where all wanted members are plain numbers in every answer."""
        fields = [field for field in self._fields if not field.echoes]
        types = {"integer": arrow.int64(), "float": arrow.float64()}
        if not block.count or any(
            field.column.type not in types or not _PLAIN.fullmatch(field.source) for field in fields
        ):
            return None
        try:
            table = arrow.json.read_json(
                arrow.BufferReader(block.data),
                read_options=arrow.json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
                parse_options=arrow.json.ParseOptions(
                    explicit_schema=arrow.schema(
                        [(field.source, types[field.column.type]) for field in fields]
                    ),
                    unexpected_field_behavior="ignore",
                ),
            )
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            return None
        return _sound(table, block, [field.source for field in fields])

    def _guess(self, block: Block) -> re.Pattern[bytes] | None:
        """A pattern for flat answers of numbers, with the members in the order of the first answer."""
        if not block.count or any(field.column.type != "float" for field in self._fields):
            return None
        try:
            answer = decode_answer(block.record(0).decode("utf-8"))
        except ValueError:
            return None
        wanted = [field.source for field in self._fields]
        if not isinstance(answer, dict) or [name for name in answer if name in wanted] != wanted:
            return None
        members = [
            rb"[ \t]*%b[ \t]*:[ \t]*%b[ \t]*"
            % (
                re.escape(json.dumps(name).encode()),
                _NUMBER if name in wanted else rb"(?:%b)" % _NUMBER[1:-1],
            )
            for name in answer
        ]
        return re.compile(rb"^[ \t]*\{%b\}[ \t]*\r?$" % b",".join(members), re.MULTILINE)


class CsvLines:
    """One CSV record a line; quoted line breaks are read too."""

    delimiter = ","

    def __init__(self, spec: JoinSpec) -> None:
        self._fields = spec.fields
        self._places = [int(field.source) for field in spec.fields]

    def arrays(self, block: Block, arrow: Any) -> list[Any] | None:
        """The columns by Arrow's own reader, where every answer is one number; its spellings are checked first."""
        types = {"integer": arrow.int64(), "float": arrow.float64()}
        if (
            len(self._fields) != 1
            or self._places[0] not in (0, -1)
            or self._fields[0].column.type not in types
        ):
            return None
        if not block.count or b'"' in block.data or block.data.startswith(BYTE_ORDER_MARK):
            return None
        # Arrow reads 0x10 as an integer; what it reads as a float and is none, nan and inf, is found below.
        if self._fields[0].column.type == "integer" and not self.bare(block):
            return None
        try:
            table = arrow.csv.read_csv(
                arrow.BufferReader(block.data),
                read_options=arrow.csv.ReadOptions(
                    column_names=["0"], use_threads=False, block_size=len(block.data) + 1
                ),
                convert_options=arrow.csv.ConvertOptions(
                    column_types={"0": types[self._fields[0].column.type]}
                ),
            )
        except arrow.ArrowInvalid:
            return None
        return _sound(table, block, ["0"])

    def read(self, shard: str, first: int, block: Block) -> list[list[str]]:
        plain = self.plain(block)
        if plain is not None:
            texts = [[line.decode("ascii") for line in plain[0]]]
            return check(self._fields, shard, first, texts)
        try:
            rows = rows_of(block, self.delimiter)
        except UnreadableError as error:
            line = shown(block.record(error.index))
            raise PredictionError(shard, first + error.index, f"the answer {line} {error}") from error
        most, least = max(self._places), min(self._places)
        width = max(most + 1, -least)
        for index, row in enumerate(rows):
            if len(row) < width:
                line = shown(block.record(index))
                raise PredictionError(
                    shard, first + index, f"the answer {line} has {len(row)} columns, not {width}"
                )
        columns = [[row[place] for row in rows] for place in self._places]
        return check(self._fields, shard, first, columns)

    def bare(self, block: Block) -> bool:
        """Whether the lines hold nothing but what numbers are made of: no spaces, quotes or carriage returns."""
        return not block.data.translate(None, _DIGITS)

    def plain(self, block: Block) -> list[list[bytes]] | None:
        """The lines themselves, unchecked, where every answer is one number and nothing else."""
        simple = (
            len(self._fields) == 1 and self._places[0] in (0, -1) and self._fields[0].column.type == "float"
        )
        if not simple or not self.bare(block):
            return None
        return [block.data.split(b"\n")[:-1]]


def _sound(table: Any, block: Block, names: Sequence[str]) -> list[Any] | None:
    """The table's columns, if there is a finite number for each answer."""
    if table.num_rows != block.count:
        return None
    import pyarrow.compute as compute

    columns = [table.column(name) for name in names]
    for column in columns:
        # Not to_numpy(), which imports pandas.
        if column.null_count or not compute.all(compute.is_finite(column)).as_py():
            return None
    return columns


def pick(fields: Sequence[PredictionField], shard: str, first: int, values: Sequence[Any]) -> list[list[str]]:
    """For each field the texts of its part of each decoded answer; raises PredictionError."""
    wanted = [(field.source, field.column.type, field.nullable) for field in fields]
    answer: Any = None
    rows = []
    try:
        for answer in values:
            rows.append([part(answer, *one) for one in wanted])
    except MissingError as error:
        raise PredictionError(shard, first + len(rows), f"{error} in the answer {shown(answer)}") from None
    columns = [list(column) for column in zip(*rows)] if rows else [[] for _ in fields]
    return check(fields, shard, first, columns)


def check(
    fields: Sequence[PredictionField], shard: str, first: int, columns: list[list[str]]
) -> list[list[str]]:
    """The columns, once every number among them is one, or missing where it may be; raises PredictionError."""
    for at, (field, texts) in enumerate(zip(fields, columns)):
        if field.column.type not in ("integer", "float"):
            continue
        if field.nullable:
            texts = columns[at] = ["" if text.strip().lower() in _NULLS else text for text in texts]
        values, wrong = parse_column(texts, field.column.type)
        if wrong:
            index, allowed = min(wrong.items())
            found = f"prediction {field.source!r} is {texts[index]!r}, allowed is {allowed.split(' or ')[0]}"
            raise PredictionError(shard, first + index, found)
        empty = np.flatnonzero(np.isnan(values))
        if len(empty) and not field.nullable:
            raise PredictionError(shard, first + int(empty[0]), f"prediction {field.source!r} is empty")
    return columns
