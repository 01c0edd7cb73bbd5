"""The specification of a join: columns, formats, predictions and function."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Tuple, Union

from batch_inference.jobs.common.cell_types import ALLOWED_TYPES, is_column_type
from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.decoder import decode
from batch_inference.jobs.config.preprocess_config import SensitiveColumn, UserFunction


@dataclass(frozen=True)
class OutputColumn:
    """One column of the output. Its type, one of cell_types.py or json, is the same in every shard."""

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
class Predictions:
    """How to read the predictions.

    Attributes:
        fields: output column by the path of a field.
        types: types of the output columns that are not float.
        nullable: output columns of numbers that may be null.
        echo: column of the records by the path of a field that must equal it.
    """

    fields: Dict[str, str]
    format: Literal["jsonlines", "csv", "json", "auto"] = "jsonlines"
    types: Dict[str, str] = field(default_factory=dict)
    nullable: Tuple[str, ...] = ()
    echo: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptColumn:
    """A column of the records that is published, under its own or another name."""

    column: str
    name: Optional[str] = None


@dataclass(frozen=True)
class PublishedColumn:
    """A column of the records that is published: its name there, and its name and type in the output."""

    record_column: str
    output_column: OutputColumn


@dataclass(frozen=True)
class JoinFunction(UserFunction):
    """The user's pandas function over joined rows, and the columns that it adds after all others."""

    adds: Tuple[OutputColumn, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which rows count as selected by the model.

    Attributes:
        column: a column of the predictions.
        min, max: inclusive bounds of a number; either may be None.
        values: the selected values of a string.
    """

    column: str
    min: Optional[float] = None
    max: Optional[float] = None
    values: Tuple[str, ...] = ()


@dataclass(frozen=True)
class JoinSpec:
    """The specification of a pipeline's join.

    Attributes:
        columns: columns of the records, in the order of the output; one that a shard lacks is null there.
        keep: which of them are published, in this order; None for all.
        include_extra_members: whether members of JSON records that are not in `columns` are published too.
        delimiter: delimiter of CSV records and of CSV output.
        has_quoted_empty_strings: whether CSV records write an empty string as `""` and a null as nothing; if not,
            both are null.
        is_preprocessed: whether preprocessing wrote the records, so that their columns and types are validated.
        function: the user's function over the joined rows.
        sensitive_columns: columns of the records by whose values predictions are counted.
        selection: which predictions count as selected.
    """

    columns: Tuple[OutputColumn, ...]
    predictions: Predictions
    keep: Optional[Tuple[KeptColumn, ...]] = None
    include_extra_members: bool = True
    delimiter: str = ","
    records_format: Literal["csv", "jsonlines"] = "csv"
    has_quoted_empty_strings: bool = False
    is_preprocessed: bool = False
    output_format: Literal["parquet", "csv", "jsonlines"] = "parquet"
    function: Optional[JoinFunction] = None
    sensitive_columns: Tuple[SensitiveColumn, ...] = ()
    selection: Optional[Selection] = None

    @classmethod
    def from_dict(cls, document: Any) -> JoinSpec:
        """Read the JSON form; docs/reference/job-files.md lists its keys. Raises ConfigError that names the field."""
        spec: JoinSpec = decode(cls, document)
        for column in (*spec.columns, *spec.output_columns):
            if column.type != "json" and not is_column_type(column.type):
                raise ConfigError(
                    f"{column.name} has the type {column.type!r}, allowed are json, {ALLOWED_TYPES}"
                )
        return spec

    @cached_property
    def published_columns(self) -> List[PublishedColumn]:
        """Which columns of the records are published, and under which names."""
        if self.keep is None:
            return [PublishedColumn(column.name, column) for column in self.columns]
        types = {column.name: column.type for column in self.columns}
        return [
            PublishedColumn(kept.column, OutputColumn(kept.name or kept.column, types[kept.column]))
            for kept in self.keep
        ]

    @property
    def record_output_columns(self) -> Tuple[OutputColumn, ...]:
        """The published columns of the records, with their names in the output."""
        return tuple(kept.output_column for kept in self.published_columns)

    @property
    def has_whole_records(self) -> bool:
        """Whether all columns of a record are published in their order; they may be renamed."""
        return [kept.record_column for kept in self.published_columns] == [
            column.name for column in self.columns
        ]

    @property
    def has_unchanged_records(self) -> bool:
        """Whether a record is published without any change."""
        return (
            self.has_whole_records
            and self.record_output_columns == self.columns
            and self.include_extra_members
        )

    @cached_property
    def prediction_fields(self) -> Tuple[PredictionField, ...]:
        """The fields of a prediction that become columns, in the order of the output, then the echoes."""
        read = self.predictions
        columns = [OutputColumn(name, read.types.get(name, "float")) for name in read.fields.values()]
        return (
            *(
                PredictionField(path, column, nullable=column.name in read.nullable)
                for path, column in zip(read.fields, columns)
            ),
            *(
                PredictionField(path, OutputColumn(name, "string"), is_echo=True)
                for path, name in read.echo.items()
            ),
        )

    @property
    def prediction_columns(self) -> Tuple[OutputColumn, ...]:
        return tuple(field.column for field in self.prediction_fields if not field.is_echo)

    @property
    def output_columns(self) -> Tuple[OutputColumn, ...]:
        adds = () if self.function is None else self.function.adds
        return (*self.record_output_columns, *self.prediction_columns, *adds)

    @property
    def records_delimiter(self) -> Optional[str]:
        """Delimiter of CSV records; None for JSON Lines."""
        return self.delimiter if self.records_format == "csv" else None


@dataclass(frozen=True)
class ShardFiles:
    """The local files of one shard, and the columns of its records, in their order."""

    name: str
    records_path: Path
    predictions_path: Path
    columns: Union[Tuple[str, ...], List[str]]
