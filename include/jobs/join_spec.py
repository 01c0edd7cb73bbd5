"""What a join puts together, as frozen nouns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.jobs.config import TYPES
from include.jobs.errors import ConfigError
from include.jobs.fields import Fields

OUTPUT_FORMATS = ("parquet", "csv", "jsonl")
PREDICTION_FORMATS = ("jsonlines", "csv")


@dataclass(frozen=True)
class OutputColumn:
    """One column of the output; its type is the same in every shard, whatever the shard's values look like."""

    name: str
    type: str


@dataclass(frozen=True)
class PredictionField:
    """One part of the model's answer.

    Attributes:
        source: a JSON member's name, or a CSV column's position from 0.
        column: what it becomes in the output.
    """

    source: str
    column: OutputColumn


@dataclass(frozen=True)
class JoinSpec:
    """The shape of a pipeline's join.

    Attributes:
        columns: of the records, in the order of the output; a shard may lack some, which become null.
        delimiter: of the records, and of CSV output.
        format: of the output.
        prediction_format: of the model's answers.
        fields: the parts of an answer that become columns, in the order of the output.
    """

    columns: tuple[OutputColumn, ...]
    delimiter: str
    format: str
    prediction_format: str
    fields: tuple[PredictionField, ...]

    @property
    def output_columns(self) -> tuple[OutputColumn, ...]:
        return (*self.columns, *(field.column for field in self.fields))

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> JoinSpec:
        """Read the JSON form; raises ConfigError naming the field.

        `{"columns": [{"name", "type"}], "delimiter": ",", "format": "parquet", "predictions": {"format": "jsonlines",
        "fields": {"score": "predicted_rings"}, "types": {"predicted_rings": "float"}}}`; a prediction is a float
        unless `types` says otherwise. `encoding` is that of the input and not looked at: records are UTF-8.
        """
        top = Fields(document, "", ("columns", "delimiter", "encoding", "format", "predictions"))
        columns = []
        for index, value in enumerate(top.get("columns", list)):
            one = Fields(value, f"columns[{index}]", ("name", "type"))
            columns.append(OutputColumn(one.get("name", str), one.choice("type", TYPES)))
        predictions = Fields(top.get("predictions", dict), "predictions", ("format", "fields", "types"))
        prediction_format = predictions.choice("format", PREDICTION_FORMATS, "jsonlines")
        targets = predictions.get("fields", dict)
        types = Fields(predictions.get("types", dict, {}), "predictions.types", targets.values())
        fields = tuple(
            PredictionField(source, OutputColumn(target, types.choice(target, TYPES, "float")))
            for source, target in targets.items()
        )
        if not fields:
            raise ConfigError("predictions.fields is empty: nothing of the model's answer would be kept")
        if prediction_format == "csv" and not all(field.source.isdigit() for field in fields):
            raise ConfigError(
                "predictions.fields: a CSV answer has no names, its fields are positions such as '0'"
            )
        spec = cls(
            columns=tuple(columns),
            delimiter=top.get("delimiter", str, ","),
            format=top.choice("format", OUTPUT_FORMATS, "parquet"),
            prediction_format=prediction_format,
            fields=fields,
        )
        names = [column.name for column in spec.output_columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"the output would have {', '.join(twice)} twice; rename it in predictions.fields"
            )
        return spec


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
