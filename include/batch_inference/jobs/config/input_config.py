"""Reads the `input` section of preprocess.json: format of the objects and columns of their records."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.fields import FieldReader

FORMATS = ("csv", "jsonlines", "parquet")
COMPRESSIONS = ("none", "gzip", "zstd", "auto")
COLUMN_TYPES = ("string", "integer", "float")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    optional: bool = False

    @property
    def is_numeric(self) -> bool:
        return self.type != "string"


@dataclass(frozen=True)
class InputConfig:
    """Format and columns of the input objects.

    Attributes:
        escape: in CSV, the character that escapes a quote within quotes; a doubled quote always does.
        compression: `auto` detects it for each object by its first bytes.
        columns: all columns in the order of the file; optional ones come last.
    """

    format: str
    header: bool
    delimiter: str
    encoding: str
    compression: str
    columns: tuple[Column, ...]
    escape: str | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required_count(self) -> int:
        """Number of columns that are not optional."""
        return sum(not column.optional for column in self.columns)

    def get_column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def parse_input(root: FieldReader) -> InputConfig:
    fields = FieldReader(
        root.get("input", dict),
        "input",
        ("format", "header", "delimiter", "escape", "encoding", "compression", "columns"),
    )
    delimiter = fields.get("delimiter", str, ",")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise ConfigError(
            f"input.delimiter is {delimiter!r}, allowed is one ASCII character, not a quote or line break"
        )
    escape = fields.get("escape", str, None)
    if escape is not None and (len(escape) != 1 or not escape.isascii() or escape in f'"\r\n\0{delimiter}'):
        raise ConfigError(
            f"input.escape is {escape!r}, allowed is one ASCII character, not a quote, line break or the delimiter"
        )
    encoding = fields.get("encoding", str, "utf-8")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise ConfigError(f"input.encoding is {encoding!r}, which Python does not know; try utf-8") from error
    return InputConfig(
        format=fields.get_choice("format", FORMATS, "csv"),
        header=fields.get("header", bool, False),
        delimiter=delimiter,
        encoding=encoding,
        compression=fields.get_choice("compression", COMPRESSIONS, "none"),
        columns=_parse_columns(fields),
        escape=escape,
    )


def _parse_columns(fields: FieldReader) -> tuple[Column, ...]:
    columns: list[Column] = []
    for index, value in enumerate(fields.get("columns", list)):
        one = FieldReader(value, f"input.columns[{index}]", ("name", "type", "optional"))
        column = Column(
            one.get("name", str), one.get_choice("type", COLUMN_TYPES), one.get("optional", bool, False)
        )
        if column.name in {other.name for other in columns}:
            raise ConfigError(f"input.columns[{index}].name is {column.name!r} a second time")
        if columns and columns[-1].optional and not column.optional:
            raise ConfigError(
                f"input.columns[{index}] ({column.name}) follows optional {columns[-1].name!r}: "
                "only the last columns may be optional"
            )
        columns.append(column)
    if not columns or columns[0].optional:
        raise ConfigError("input.columns must name at least one column that is not optional")
    return tuple(columns)


def require_column(input_config: InputConfig, column_name: str, config_path: str) -> None:
    """Raise ConfigError if the input has no column `column_name`; `config_path` is the field that names it."""
    if column_name not in input_config.column_names:
        raise ConfigError(
            f"{config_path} names column {column_name!r}, the input has {', '.join(input_config.column_names)}"
        )
