"""The `input` part of preprocess.json: how the objects are written and which columns their records have."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from include.jobs.errors import ConfigError
from include.jobs.fields import Fields

FORMATS = ("csv", "jsonlines", "parquet")
COMPRESSIONS = ("none", "gzip", "zstd", "auto")
TYPES = ("string", "integer", "float")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    optional: bool = False

    @property
    def numeric(self) -> bool:
        return self.type != "string"


@dataclass(frozen=True)
class Input:
    """How the input objects are written.

    Attributes:
        escape: in CSV what makes a quote within quotes a plain character, besides another quote.
        compression: `auto` decides for each object by its first bytes.
        columns: all columns in the order of the file; those that an object may leave out come last.
    """

    format: str
    header: bool
    delimiter: str
    encoding: str
    compression: str
    columns: tuple[Column, ...]
    escape: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> int:
        """How many columns every record has."""
        return sum(not column.optional for column in self.columns)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def parse_input(top: Fields) -> Input:
    fields = Fields(
        top.get("input", dict),
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
    return Input(
        format=fields.choice("format", FORMATS, "csv"),
        header=fields.get("header", bool, False),
        delimiter=delimiter,
        encoding=encoding,
        compression=fields.choice("compression", COMPRESSIONS, "none"),
        columns=_columns(fields),
        escape=escape,
    )


def _columns(fields: Fields) -> tuple[Column, ...]:
    columns: list[Column] = []
    for index, value in enumerate(fields.get("columns", list)):
        one = Fields(value, f"input.columns[{index}]", ("name", "type", "optional"))
        column = Column(one.get("name", str), one.choice("type", TYPES), one.get("optional", bool, False))
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


def known_column(source: Input, name: str, path: str) -> None:
    """Raises ConfigError when the input has no column `name`; `path` is where it is named."""
    if name not in source.names:
        raise ConfigError(f"{path} names column {name!r}, the input has {', '.join(source.names)}")
