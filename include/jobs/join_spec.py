"""What a join puts together, as frozen nouns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from include.jobs.config import TYPES
from include.jobs.errors import ConfigError
from include.jobs.fields import Fields

OUTPUT_FORMATS = ("parquet", "csv", "jsonl")
PREDICTION_FORMATS = ("jsonlines", "csv", "json", "auto")
RECORD_FORMATS = ("csv", "jsonlines")
# A nested part of an answer may be kept as the JSON it is.
PREDICTION_TYPES = (*TYPES, "json")


@dataclass(frozen=True)
class OutputColumn:
    """One column of the output; its type is the same in every shard, whatever the shard's values look like."""

    name: str
    type: str


@dataclass(frozen=True)
class PredictionField:
    """One part of the model's answer.

    Attributes:
        source: a JSON member's name or path, or a CSV column's position from 0, or from the end as -1.
        column: what it becomes in the output; for an echo, the column of the record that it must equal.
    """

    source: str
    column: OutputColumn
    echoes: bool = False


@dataclass(frozen=True)
class JoinSpec:
    """The shape of a pipeline's join.

    Attributes:
        columns: of the records, in the order of the output; a shard may lack some, which become null.
        delimiter: of CSV records, and of CSV output.
        records_format: `csv` or `jsonlines`.
        format: of the output.
        prediction_format: of the model's answers.
        fields: the parts of an answer that become columns, in the order of the output, then the echoes.
    """

    columns: tuple[OutputColumn, ...]
    delimiter: str
    records_format: str
    format: str
    prediction_format: str
    fields: tuple[PredictionField, ...]

    @property
    def columns_of_answers(self) -> tuple[OutputColumn, ...]:
        return tuple(field.column for field in self.fields if not field.echoes)

    @property
    def output_columns(self) -> tuple[OutputColumn, ...]:
        return (*self.columns, *self.columns_of_answers)

    @property
    def records_delimiter(self) -> str | None:
        """What makes CSV of the records; None when they are JSON Lines."""
        return self.delimiter if self.records_format == "csv" else None

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> JoinSpec:
        """Read the JSON form; raises ConfigError naming the field. README.md beside this file has its keys."""
        top = Fields(document, "", ("columns", "delimiter", "encoding", "records", "format", "predictions"))
        columns = []
        for index, value in enumerate(top.get("columns", list)):
            one = Fields(value, f"columns[{index}]", ("name", "type"))
            columns.append(OutputColumn(one.get("name", str), one.choice("type", TYPES)))
        predictions = Fields(
            top.get("predictions", dict), "predictions", ("format", "fields", "types", "echo")
        )
        targets = predictions.get("fields", dict)
        types = Fields(predictions.get("types", dict, {}), "predictions.types", map(str, targets.values()))
        fields = [
            PredictionField(source, OutputColumn(target, types.choice(target, PREDICTION_TYPES, "float")))
            for source, target in targets.items()
        ]
        if not fields:
            raise ConfigError("predictions.fields is empty: nothing of the model's answer would be kept")
        for source, name in predictions.get("echo", dict, {}).items():
            if name not in {column.name for column in columns}:
                raise ConfigError(
                    f"predictions.echo.{source} is {name!r}, which no column of the records is called"
                )
            fields.append(PredictionField(source, OutputColumn(name, "string"), echoes=True))
        spec = cls(
            columns=tuple(columns),
            delimiter=top.get("delimiter", str, ","),
            records_format=top.choice("records", RECORD_FORMATS, "csv"),
            format=top.choice("format", OUTPUT_FORMATS, "parquet"),
            prediction_format=predictions.choice("format", PREDICTION_FORMATS, "jsonlines"),
            fields=tuple(fields),
        )
        problem = check_sources(spec.prediction_format, spec.fields)
        if problem:
            raise ConfigError(f"predictions.format is {spec.prediction_format}: {problem}")
        names = [column.name for column in spec.output_columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"the output would have {', '.join(twice)} twice; rename it in predictions.fields"
            )
        return spec


def check_sources(prediction_format: str, fields: Sequence[PredictionField]) -> str:
    """What is wrong with the wanted fields for answers of this format, or an empty text."""
    if prediction_format == "csv":
        for field in fields:
            if not re.fullmatch(r"-?\d+", field.source):
                return f"a CSV answer has no names, so its fields are positions such as '0', not {field.source!r}"
    return ""


@dataclass(frozen=True)
class ShardFiles:
    """One shard's files on local disk.

    Attributes:
        columns: what this shard's records have, in their order.
    """

    name: str
    records: Path
    predictions: Path
    columns: tuple[str, ...] | list[str]


@dataclass(frozen=True)
class ShardCount:
    """How many rows of the output are a shard's."""

    shard: str
    rows: int
