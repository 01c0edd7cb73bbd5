"""What a join puts together, as frozen nouns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from include.jobs.config import TYPES, Function, Group, parse_groups
from include.jobs.errors import ConfigError
from include.jobs.fields import Fields

OUTPUT_FORMATS = ("parquet", "csv", "jsonl")
PREDICTION_FORMATS = ("jsonlines", "csv", "json", "auto")
RECORD_FORMATS = ("csv", "jsonlines")
KEYS = (
    "columns",
    "keep",
    "unnamed",
    "delimiter",
    "encoding",
    "records",
    "empty_texts",
    "checked",
    "format",
    "predictions",
    "function",
    "sensitive",
    "selected",
)
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
        nullable: whether a number may be missing: null, NaN or an empty field. A blank answer is an error all the same.
    """

    source: str
    column: OutputColumn
    echoes: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class KeptColumn:
    """A column of the records that is published.

    Attributes:
        source: what the records call it.
        column: what the output calls it.
    """

    source: str
    column: OutputColumn


@dataclass(frozen=True)
class JoinFunction:
    """The user's own pandas function over joined rows.

    Attributes:
        adds: the columns that it makes, behind all others.
    """

    function: Function
    adds: tuple[OutputColumn, ...]


@dataclass(frozen=True)
class Selection:
    """Which rows count as selected by the model.

    Attributes:
        column: of the answers.
        at_least, at_most: bounds of a number, included; either may be None.
        values: of a text.
    """

    column: str
    at_least: float | None
    at_most: float | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class JoinSpec:
    """The shape of a pipeline's join.

    Attributes:
        columns: of the records, in the order of the output; a shard may lack some, which become null.
        kept: which of them are published, and under which names.
        unnamed: whether members of JSON records that the pipeline does not name are published too.
        function: what sees the joined rows before they are written.
        groups: columns of the records by whose values answers are counted.
        selected: which answers are counted as selected.
        delimiter: of CSV records, and of CSV output.
        records_format: `csv` or `jsonlines`.
        empty_texts: whether CSV records spell an empty text as `""`, and a null as nothing; else both are null.
        checked: whether preprocessing wrote the records, so that they have the columns and types that are stated here.
        format: of the output.
        prediction_format: of the model's answers.
        fields: the parts of an answer that become columns, in the order of the output, then the echoes.
    """

    columns: tuple[OutputColumn, ...]
    kept: tuple[KeptColumn, ...]
    unnamed: bool
    delimiter: str
    records_format: str
    empty_texts: bool
    checked: bool
    format: str
    prediction_format: str
    fields: tuple[PredictionField, ...]
    function: JoinFunction | None
    groups: tuple[Group, ...]
    selected: Selection | None

    @property
    def columns_of_records(self) -> tuple[OutputColumn, ...]:
        """The records' columns as the output has them."""
        return tuple(kept.column for kept in self.kept)

    @property
    def whole_records(self) -> bool:
        """Whether a record is published with all of its columns in their order, whatever they are called."""
        return tuple(kept.source for kept in self.kept) == tuple(column.name for column in self.columns)

    @property
    def untouched_records(self) -> bool:
        """Whether a record is published as it is."""
        return self.whole_records and self.columns_of_records == self.columns and self.unnamed

    @property
    def columns_of_answers(self) -> tuple[OutputColumn, ...]:
        return tuple(field.column for field in self.fields if not field.echoes)

    @property
    def output_columns(self) -> tuple[OutputColumn, ...]:
        adds = () if self.function is None else self.function.adds
        return (*self.columns_of_records, *self.columns_of_answers, *adds)

    @property
    def records_delimiter(self) -> str | None:
        """What makes CSV of the records; None when they are JSON Lines."""
        return self.delimiter if self.records_format == "csv" else None

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> JoinSpec:
        """Read the JSON form; raises ConfigError naming the field. README.md beside this file has its keys."""
        top = Fields(document, "", KEYS)
        columns = _columns(top, "columns", TYPES)
        predictions = Fields(
            top.get("predictions", dict), "predictions", ("format", "fields", "types", "nullable", "echo")
        )
        targets = predictions.get("fields", dict)
        types = Fields(predictions.get("types", dict, {}), "predictions.types", map(str, targets.values()))
        nullable = predictions.texts("nullable", [])
        fields = [
            PredictionField(
                source,
                OutputColumn(target, types.choice(target, PREDICTION_TYPES, "float")),
                nullable=target in nullable,
            )
            for source, target in targets.items()
        ]
        numbers = [field.column.name for field in fields if field.column.type in ("integer", "float")]
        strange = [name for name in nullable if name not in numbers]
        if strange:
            raise ConfigError(
                f"predictions.nullable has {strange[0]!r}, allowed are numbers: {', '.join(numbers) or 'none'}"
            )
        if not fields:
            raise ConfigError("predictions.fields is empty: nothing of the model's answer would be kept")
        for source, name in predictions.get("echo", dict, {}).items():
            if name not in {column.name for column in columns}:
                raise ConfigError(
                    f"predictions.echo.{source} is {name!r}, which no column of the records is called"
                )
            fields.append(PredictionField(source, OutputColumn(name, "string"), echoes=True))
        spec = cls(
            columns=columns,
            kept=_kept(top, columns),
            unnamed=top.get("unnamed", bool, True),
            delimiter=top.get("delimiter", str, ","),
            records_format=top.choice("records", RECORD_FORMATS, "csv"),
            empty_texts=top.get("empty_texts", bool, False),
            checked=top.get("checked", bool, False),
            format=top.choice("format", OUTPUT_FORMATS, "parquet"),
            prediction_format=predictions.choice("format", PREDICTION_FORMATS, "jsonlines"),
            fields=tuple(fields),
            function=_function(top),
            groups=parse_groups(top, {column.name: column.type for column in columns}),
            selected=_selection(
                top, {field.column.name: field.column.type for field in fields if not field.echoes}
            ),
        )
        problem = check_sources(spec.prediction_format, spec.fields)
        if problem:
            raise ConfigError(f"predictions.format is {spec.prediction_format}: {problem}")
        names = [column.name for column in spec.output_columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"the output would have {', '.join(twice)} twice; rename it in join.rename or predictions.fields"
            )
        if spec.function:
            # It is given all of them in one table, also those that are left out or called otherwise in the output.
            given = [column.name for column in (*columns, *spec.columns_of_answers, *spec.function.adds)]
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ConfigError(
                    f"the function would have {', '.join(twice)} twice, of the records' columns, predictions.fields "
                    f"and function.adds together; call it otherwise in one of the latter"
                )
        return spec


def _columns(top: Fields, name: str, types: Sequence[str]) -> tuple[OutputColumn, ...]:
    found = []
    for index, value in enumerate(top.get(name, list)):
        one = Fields(value, f"{top.at(name)}[{index}]", ("name", "type"))
        found.append(OutputColumn(one.get("name", str), one.choice("type", types)))
    return tuple(found)


def _kept(top: Fields, columns: Sequence[OutputColumn]) -> tuple[KeptColumn, ...]:
    if not top.has("keep"):
        return tuple(KeptColumn(column.name, column) for column in columns)
    types = {column.name: column.type for column in columns}
    kept = []
    for index, value in enumerate(top.get("keep", list)):
        one = Fields(value, f"keep[{index}]", ("column", "name"))
        source = one.choice("column", list(types))
        kept.append(KeptColumn(source, OutputColumn(one.get("name", str, source), types[source])))
    return tuple(kept)


def _function(top: Fields) -> JoinFunction | None:
    if not top.has("function"):
        return None
    fields = Fields(top.get("function", dict), "function", ("module", "name", "adds"))
    return JoinFunction(
        Function(fields.get("module", str), fields.get("name", str)),
        _columns(fields, "adds", PREDICTION_TYPES) if fields.has("adds") else (),
    )


def _selection(top: Fields, types: Mapping[str, str]) -> Selection | None:
    if not top.has("selected"):
        return None
    fields = Fields(top.get("selected", dict), "selected", ("column", "at_least", "at_most", "values"))
    column = fields.choice("column", list(types))
    bounds = [fields.get(name, float) if fields.has(name) else None for name in ("at_least", "at_most")]
    values = fields.texts("values", [])
    if types[column] == "json":
        raise ConfigError(
            f"selected.column is {column!r} of type json, allowed are columns of type {', '.join(TYPES)}"
        )
    numeric = types[column] in ("integer", "float")
    if numeric != any(bound is not None for bound in bounds) or numeric == bool(values):
        raise ConfigError("selected: a number has at_least, at_most or both, a text has values")
    return Selection(column, bounds[0], bounds[1], values)


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
