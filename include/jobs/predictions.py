"""The model's answers, block by block: one text for each wanted field of each answer."""

from __future__ import annotations

import csv
import json
import math
import re
from typing import Any, Sequence

from include.jobs.blocks import Block
from include.jobs.errors import PredictionError
from include.jobs.join_spec import JoinSpec, PredictionField
from include.jobs.numeric import parse_column

_SHOWN = 120
_NUMBER = rb"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"


class _Number(str):
    """A JSON number as it was written."""


class _Constant(str):
    """NaN, Infinity or -Infinity: written by many, no JSON, and no prediction."""


class Predictions:
    """Reads answers of one format; raises PredictionError for one that cannot be joined."""

    def __init__(self, spec: JoinSpec) -> None:
        self._fields = spec.fields
        self._csv = spec.prediction_format == "csv"
        self._template: re.Pattern[bytes] | None = None

    @property
    def delimiter(self) -> str | None:
        """What makes CSV of the file, None for JSON Lines."""
        return "," if self._csv else None

    def read(self, shard: str, first: int, block: Block) -> list[list[str]]:
        """For each field its texts: numbers as they were written, texts without quotes.

        `first` is the number of the block's first record within the shard, from 1.
        """
        texts = self._read_csv(shard, first, block) if self._csv else self._read_json(shard, first, block)
        for field, column in zip(self._fields, texts):
            if field.column.type != "string":
                _check_numbers(shard, first, field, column)
        return texts

    def _read_json(self, shard: str, first: int, block: Block) -> list[list[str]]:
        if self._template is None:
            self._template = self._guess(block)
        if self._template is not None:
            found = self._template.findall(block.data)
            if len(found) == block.count:
                columns = [found] if len(self._fields) == 1 else list(zip(*found))
                return [[text.decode("ascii") for text in column] for column in columns]
        texts: list[list[str]] = [[] for _ in self._fields]
        for index in range(block.count):
            line = block.record(index)
            try:
                answer = json.loads(
                    line.decode("utf-8"), parse_float=_Number, parse_int=_Number, parse_constant=_Constant
                )
            except ValueError as error:
                raise PredictionError(
                    shard, first + index, f"the answer {shown(line)} is not JSON: {error}"
                ) from error
            for field, column in zip(self._fields, texts):
                column.append(_member(shard, first + index, answer, field, line))
        return texts

    def _guess(self, block: Block) -> re.Pattern[bytes] | None:
        """A pattern for flat answers of numbers, with the members in the order of the first answer."""
        if not block.count or any(field.column.type == "string" for field in self._fields):
            return None
        try:
            answer = json.loads(block.record(0).decode("utf-8"))
        except ValueError:
            return None
        wanted = [field.source for field in self._fields]
        if not isinstance(answer, dict) or [name for name in answer if name in wanted] != wanted:
            return None
        number = _NUMBER
        members = [
            rb"[ \t]*%b[ \t]*:[ \t]*%b[ \t]*"
            % (re.escape(json.dumps(name).encode()), number if name in wanted else rb"(?:%b)" % number[1:-1])
            for name in answer
        ]
        return re.compile(rb"^[ \t]*\{%b\}[ \t]*\r?$" % b",".join(members), re.MULTILINE)

    def _read_csv(self, shard: str, first: int, block: Block) -> list[list[str]]:
        try:
            rows = list(csv.reader(block.data.decode("utf-8").split("\n")[:-1]))
        except UnicodeDecodeError as error:
            raise PredictionError(
                shard, first, f"an answer at or after this one is not UTF-8: {error}"
            ) from error
        if len(rows) != block.count:  # quoted line breaks: record by record
            rows = [next(csv.reader([block.record(index).decode("utf-8")])) for index in range(block.count)]
        width = max(int(field.source) for field in self._fields) + 1
        for index, row in enumerate(rows):
            if len(row) < width:
                raise PredictionError(
                    shard,
                    first + index,
                    f"the answer {shown(block.record(index))} has {len(row)} columns, not {width}",
                )
        return [[row[int(field.source)] for row in rows] for field in self._fields]


def shown(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").rstrip("\r")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _member(shard: str, record: int, answer: Any, field: PredictionField, line: bytes) -> str:
    if not isinstance(answer, dict):
        raise PredictionError(
            shard, record, f"the answer {shown(line)} is no JSON object with {field.source!r}"
        )
    if field.source not in answer:
        raise PredictionError(shard, record, f"the answer {shown(line)} has no {field.source!r}")
    value = answer[field.source]
    if value is None:
        raise PredictionError(shard, record, f"{field.source!r} is null in the answer {shown(line)}")
    if isinstance(value, _Constant):
        raise PredictionError(shard, record, f"{field.source!r} is {value} in the answer {shown(line)}")
    if field.column.type == "string":
        if type(value) is str or isinstance(value, _Number):
            return str(value)
        raise PredictionError(shard, record, f"{field.source!r} is no text in the answer {shown(line)}")
    if not isinstance(value, _Number):
        raise PredictionError(
            shard,
            record,
            f"{field.source!r} is not a number in the answer {shown(line)}; its type may be set to string",
        )
    return str(value)


def _check_numbers(shard: str, first: int, field: PredictionField, texts: Sequence[str]) -> None:
    values, wrong = parse_column(texts, field.column.type)
    if wrong:
        index, allowed = min(wrong.items())
        raise PredictionError(
            shard,
            first + index,
            f"prediction {field.source!r} is {texts[index]!r}, allowed is {allowed.split(' or ')[0]}",
        )
    for index, value in enumerate(values.tolist() if math.isnan(values.sum()) else ()):
        if math.isnan(value):
            raise PredictionError(shard, first + index, f"prediction {field.source!r} is empty")
