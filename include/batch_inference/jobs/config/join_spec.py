"""Reads and validates the specification of a join: columns, formats, predictions and function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.fields import FieldReader
from batch_inference.jobs.config.preprocess_config import (
    COLUMN_TYPES,
    SensitiveColumn,
    UserFunction,
    parse_sensitive_columns,
)

OUTPUT_FORMATS = ("parquet", "csv", "jsonlines")
PREDICTION_FORMATS = ("jsonlines", "csv", "json", "auto")
RECORD_FORMATS = ("csv", "jsonlines")
SPEC_KEYS = (
    "columns",
    "keep",
    "include_extra_members",
    "delimiter",
    "encoding",
    "records",
    "has_quoted_empty_strings",
    "is_preprocessed",
    "format",
    "predictions",
    "function",
    "sensitive",
    "selected",
)
# A nested part of a prediction may be kept as JSON.
PREDICTION_TYPES = (*COLUMN_TYPES, "json")


@dataclass(frozen=True)
class OutputColumn:
    """One column of the output. Its type is the same in every shard."""

    name: str
    type: str


@dataclass(frozen=True)
class PredictionField:
    """One field of a prediction.

    Attributes:
        path: name or path of a JSON member, or position of a CSV column from 0, or from the end as -1.
        column: the column of the output; for an echo, the column of the record that it must equal.
        nullable: whether a number may be null, NaN or empty. A blank prediction is always an error.
    """

    path: str
    column: OutputColumn
    is_echo: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class PublishedColumn:
    """A column of the records that is published.

    Attributes:
        record_column: its name in the records.
        output_column: its name and type in the output.
    """

    record_column: str
    output_column: OutputColumn


@dataclass(frozen=True)
class JoinFunction:
    """The user's pandas function over joined rows.

    Attributes:
        added_columns: the columns that it adds, after all others.
    """

    function: UserFunction
    added_columns: tuple[OutputColumn, ...]


@dataclass(frozen=True)
class Selection:
    """Which rows count as selected by the model.

    Attributes:
        column: a column of the predictions.
        min, max: inclusive bounds of a number; either may be None.
        values: the selected values of a string.
    """

    column: str
    min: float | None
    max: float | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class JoinSpec:
    """The specification of a pipeline's join.

    Attributes:
        columns: columns of the records, in the order of the output; one that a shard lacks is null there.
        published_columns: which of them are published, and under which names.
        include_extra_members: whether members of JSON records that are not in `columns` are published too.
        function: the user's function over the joined rows.
        sensitive_columns: columns of the records by whose values predictions are counted.
        selection: which predictions count as selected.
        delimiter: delimiter of CSV records and of CSV output.
        records_format: `csv` or `jsonlines`.
        has_quoted_empty_strings: whether CSV records write an empty string as `""` and a null as nothing; if not,
            both are null.
        is_preprocessed: whether preprocessing wrote the records, so that their columns and types are validated.
        output_format: format of the output.
        prediction_format: format of the predictions.
        prediction_fields: the fields of a prediction that become columns, in the order of the output, then the echoes.
    """

    columns: tuple[OutputColumn, ...]
    published_columns: tuple[PublishedColumn, ...]
    include_extra_members: bool
    delimiter: str
    records_format: str
    has_quoted_empty_strings: bool
    is_preprocessed: bool
    output_format: str
    prediction_format: str
    prediction_fields: tuple[PredictionField, ...]
    function: JoinFunction | None
    sensitive_columns: tuple[SensitiveColumn, ...]
    selection: Selection | None

    @property
    def record_output_columns(self) -> tuple[OutputColumn, ...]:
        """The published columns of the records, with their names in the output."""
        return tuple(kept.output_column for kept in self.published_columns)

    @property
    def has_whole_records(self) -> bool:
        """Whether all columns of a record are published in their order; they may be renamed."""
        return tuple(kept.record_column for kept in self.published_columns) == tuple(
            column.name for column in self.columns
        )

    @property
    def has_unchanged_records(self) -> bool:
        """Whether a record is published without any change."""
        return (
            self.has_whole_records
            and self.record_output_columns == self.columns
            and self.include_extra_members
        )

    @property
    def prediction_columns(self) -> tuple[OutputColumn, ...]:
        return tuple(field.column for field in self.prediction_fields if not field.is_echo)

    @property
    def output_columns(self) -> tuple[OutputColumn, ...]:
        adds = () if self.function is None else self.function.added_columns
        return (*self.record_output_columns, *self.prediction_columns, *adds)

    @property
    def records_delimiter(self) -> str | None:
        """Delimiter of CSV records; None for JSON Lines."""
        return self.delimiter if self.records_format == "csv" else None

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> JoinSpec:
        """Read the JSON form; docs/reference/job-files.md lists its keys. Raises ConfigError that names the field."""
        root = FieldReader(document, "", SPEC_KEYS)
        columns = _parse_columns(root, "columns", COLUMN_TYPES)
        predictions = FieldReader(
            root.get("predictions", dict), "predictions", ("format", "fields", "types", "nullable", "echo")
        )
        output_names = predictions.get("fields", dict)
        types = FieldReader(
            predictions.get("types", dict, {}), "predictions.types", map(str, output_names.values())
        )
        nullable = predictions.get_strings("nullable", [])
        fields = [
            PredictionField(
                source,
                OutputColumn(target, types.get_choice(target, PREDICTION_TYPES, "float")),
                nullable=target in nullable,
            )
            for source, target in output_names.items()
        ]
        numbers = [field.column.name for field in fields if field.column.type in ("integer", "float")]
        not_numeric = [name for name in nullable if name not in numbers]
        if not_numeric:
            raise ConfigError(
                f"predictions.nullable has {not_numeric[0]!r}, allowed are numbers: {', '.join(numbers) or 'none'}"
            )
        if not fields:
            raise ConfigError("predictions.fields is empty: no part of the predictions would be published")
        for source, name in predictions.get("echo", dict, {}).items():
            if name not in {column.name for column in columns}:
                raise ConfigError(
                    f"predictions.echo.{source} is {name!r}, which is not a column of the records"
                )
            fields.append(PredictionField(source, OutputColumn(name, "string"), is_echo=True))
        spec = cls(
            columns=columns,
            published_columns=_parse_published_columns(root, columns),
            include_extra_members=root.get("include_extra_members", bool, True),
            delimiter=root.get("delimiter", str, ","),
            records_format=root.get_choice("records", RECORD_FORMATS, "csv"),
            has_quoted_empty_strings=root.get("has_quoted_empty_strings", bool, False),
            is_preprocessed=root.get("is_preprocessed", bool, False),
            output_format=root.get_choice("format", OUTPUT_FORMATS, "parquet"),
            prediction_format=predictions.get_choice("format", PREDICTION_FORMATS, "jsonlines"),
            prediction_fields=tuple(fields),
            function=_parse_function(root),
            sensitive_columns=parse_sensitive_columns(root, {column.name: column.type for column in columns}),
            selection=_parse_selection(
                root, {field.column.name: field.column.type for field in fields if not field.is_echo}
            ),
        )
        problem = find_field_problem(spec.prediction_format, spec.prediction_fields)
        if problem:
            raise ConfigError(f"predictions.format is {spec.prediction_format}: {problem}")
        names = [column.name for column in spec.output_columns]
        duplicate_names = sorted({name for name in names if names.count(name) > 1})
        if duplicate_names:
            raise ConfigError(
                f"the output would have {', '.join(duplicate_names)} twice; rename it in join.rename or "
                "predictions.fields"
            )
        if spec.function:
            # Its DataFrame has all columns under their own names, published or not.
            function_columns = [
                column.name for column in (*columns, *spec.prediction_columns, *spec.function.added_columns)
            ]
            duplicate_names = sorted({name for name in function_columns if function_columns.count(name) > 1})
            if duplicate_names:
                raise ConfigError(
                    f"the function would have {', '.join(duplicate_names)} twice, of the records' columns, "
                    "predictions.fields and function.adds together; rename it in one of the latter"
                )
        return spec


def _parse_columns(top: FieldReader, name: str, types: Sequence[str]) -> tuple[OutputColumn, ...]:
    found = []
    for index, value in enumerate(top.get(name, list)):
        one = FieldReader(value, f"{top.get_path(name)}[{index}]", ("name", "type"))
        found.append(OutputColumn(one.get("name", str), one.get_choice("type", types)))
    return tuple(found)


def _parse_published_columns(
    top: FieldReader, columns: Sequence[OutputColumn]
) -> tuple[PublishedColumn, ...]:
    if not top.has("keep"):
        return tuple(PublishedColumn(column.name, column) for column in columns)
    types = {column.name: column.type for column in columns}
    kept = []
    for index, value in enumerate(top.get("keep", list)):
        one = FieldReader(value, f"keep[{index}]", ("column", "name"))
        source = one.get_choice("column", list(types))
        kept.append(PublishedColumn(source, OutputColumn(one.get("name", str, source), types[source])))
    return tuple(kept)


def _parse_function(top: FieldReader) -> JoinFunction | None:
    if not top.has("function"):
        return None
    fields = FieldReader(top.get("function", dict), "function", ("module", "name", "adds"))
    return JoinFunction(
        UserFunction(fields.get("module", str), fields.get("name", str)),
        _parse_columns(fields, "adds", PREDICTION_TYPES) if fields.has("adds") else (),
    )


def _parse_selection(top: FieldReader, types: Mapping[str, str]) -> Selection | None:
    if not top.has("selected"):
        return None
    fields = FieldReader(top.get("selected", dict), "selected", ("column", "min", "max", "values"))
    column = fields.get_choice("column", list(types))
    bounds = [fields.get(name, float) if fields.has(name) else None for name in ("min", "max")]
    values = fields.get_strings("values", [])
    if types[column] == "json":
        raise ConfigError(
            f"selected.column is {column!r} of type json, allowed are columns of type {', '.join(COLUMN_TYPES)}"
        )
    numeric = types[column] in ("integer", "float")
    if numeric != any(bound is not None for bound in bounds) or numeric == bool(values):
        raise ConfigError("selected: a number has min, max or both, a string has values")
    return Selection(column, bounds[0], bounds[1], values)


def find_field_problem(prediction_format: str, fields: Sequence[PredictionField]) -> str:
    """Describe what is wrong with the fields for predictions of this format; an empty string if nothing is."""
    if prediction_format == "csv":
        for field in fields:
            if not re.fullmatch(r"-?\d+", field.path):
                return f"a CSV prediction has no names, so its fields are positions such as '0', not {field.path!r}"
    return ""


@dataclass(frozen=True)
class ShardFiles:
    """The local files of one shard.

    Attributes:
        columns: columns of this shard's records, in their order.
    """

    name: str
    records_path: Path
    predictions_path: Path
    columns: tuple[str, ...] | list[str]


@dataclass(frozen=True)
class ShardRowCount:
    """Number of output rows of one shard."""

    shard_name: str
    row_count: int
