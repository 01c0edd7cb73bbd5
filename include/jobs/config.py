"""preprocess.json as frozen nouns: what comes in, which rules hold, what the model sees."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.jobs.errors import ConfigError
from include.jobs.fields import Fields

VERSION = 1
FORMATS = ("csv", "jsonlines", "parquet")
COMPRESSIONS = ("none", "gzip", "auto")
TYPES = ("string", "integer", "float")
DISTRIBUTIONS = ("ShardedByS3Key", "FullyReplicated")
RULES = ("required", "range", "allowed", "pattern", "duplicates")
# Checked before the pipeline's own rules, in this order; their names are taken.
IMPLICIT_RULES = ("quoting", "json", "encoding", "arity", "type", "line break")


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
        compression: `auto` decides for each object by its first bytes.
        columns: all columns in the order of the file; those that an object may leave out come last.
    """

    format: str
    header: bool
    delimiter: str
    encoding: str
    compression: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> int:
        """How many columns every record has."""
        return sum(not column.optional for column in self.columns)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Rule:
    """One rule of the pipeline; which of the fields count depends on `kind`.

    A null (an empty cell) fails `required` only: every other rule speaks about values that are there.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False
    pattern: str = ""


@dataclass(frozen=True)
class Config:
    """The whole of preprocess.json.

    Attributes:
        input_uri: where the input objects were listed; rejects and manifest name objects by it.
        distribution: as the `data` input was distributed over the instances.
        features: the columns that the model sees, in its order.
        shard_bytes: wanted size of one shard, in bytes of input text.
    """

    pipeline: str
    input_uri: str
    distribution: str
    input: Input
    rules: tuple[Rule, ...]
    features: tuple[str, ...]
    shard_bytes: int


def read_config(path: Path) -> Config:
    """Read and check preprocess.json; raises ConfigError naming the field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return parse_config(document)


def parse_config(document: Any) -> Config:
    """The configuration in `document`; raises ConfigError naming field, found and allowed."""
    top = Fields(
        document,
        "",
        ("version", "pipeline", "input_uri", "distribution", "input", "rules", "features", "shard_bytes"),
    )
    if top.get("version", int) != VERSION:
        raise ConfigError(f"version is {document['version']}, this job reads version {VERSION}")
    source = _input(top)
    shard_bytes = top.get("shard_bytes", int)
    if shard_bytes < 1:
        raise ConfigError(f"shard_bytes is {shard_bytes}, allowed is 1 or more")
    return Config(
        pipeline=top.get("pipeline", str),
        input_uri=top.get("input_uri", str),
        distribution=top.choice("distribution", DISTRIBUTIONS),
        input=source,
        rules=_rules(top, source),
        features=_features(top, source),
        shard_bytes=shard_bytes,
    )


def _input(top: Fields) -> Input:
    fields = Fields(
        top.get("input", dict),
        "input",
        ("format", "header", "delimiter", "encoding", "compression", "columns"),
    )
    delimiter = fields.get("delimiter", str, ",")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise ConfigError(
            f"input.delimiter is {delimiter!r}, allowed is one ASCII character, not a quote or line break"
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


def _features(top: Fields, source: Input) -> tuple[str, ...]:
    fields = Fields(top.get("features", dict), "features", ("columns",))
    names = fields.texts("columns")
    if not names:
        raise ConfigError("features.columns is empty: the model must see at least one column")
    for index, name in enumerate(names):
        _known_column(source, name, f"features.columns[{index}]")
        if source.column(name).optional:
            raise ConfigError(f"features.columns[{index}] is {name!r}, which an object may leave out")
    return names


def _rules(top: Fields, source: Input) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for index, value in enumerate(top.get("rules", list, [])):
        rule = _rule(value, f"rules[{index}]", source)
        if rule.name in IMPLICIT_RULES or rule.name in {other.name for other in rules}:
            raise ConfigError(
                f"rules[{index}].name is {rule.name!r}, which is taken; give each rule its own name"
            )
        rules.append(rule)
    return tuple(rules)


# The fields that belong to each kind of rule, beside `name` and `rule`.
_RULE_FIELDS = {
    "required": ("columns",),
    "range": ("column", "min", "max", "exclusive_min", "exclusive_max"),
    "allowed": ("column", "values"),
    "pattern": ("column", "pattern"),
    "duplicates": ("key",),
}


def _rule(value: Any, path: str, source: Input) -> Rule:
    kind = Fields(value, path, value if isinstance(value, dict) else ()).choice("rule", RULES)
    fields = Fields(value, path, ("name", "rule", *_RULE_FIELDS[kind]))
    if kind in ("required", "duplicates"):
        key = "columns" if kind == "required" else "key"
        columns = fields.texts(key) if fields.has(key) or kind == "required" else source.names
        if not columns:
            raise ConfigError(f"{fields.at(key)} is empty")
    else:
        columns = (fields.get("column", str),)
    for name in columns:
        _known_column(source, name, path)
    default = kind if kind == "duplicates" else f"{kind} {', '.join(columns)}"
    rule = Rule(
        name=fields.get("name", str, default),
        kind=kind,
        columns=columns,
        values=tuple(_text(one, fields.at("values")) for one in fields.get("values", list, []))
        if kind == "allowed"
        else (),
        minimum=fields.get("min", float, None) if kind == "range" else None,
        maximum=fields.get("max", float, None) if kind == "range" else None,
        exclusive_min=fields.get("exclusive_min", bool, False) if kind == "range" else False,
        exclusive_max=fields.get("exclusive_max", bool, False) if kind == "range" else False,
        pattern=fields.get("pattern", str) if kind == "pattern" else "",
    )
    _check_rule(rule, path, source)
    return rule


def _check_rule(rule: Rule, path: str, source: Input) -> None:
    if rule.kind == "allowed" and not rule.values:
        raise ConfigError(f"{path}.values is missing or empty: no record could pass")
    if rule.kind == "range":
        if not source.column(rule.columns[0]).numeric:
            raise ConfigError(
                f"{path}.column is {rule.columns[0]!r}, a string; a range needs an integer or float column"
            )
        if rule.minimum is None and rule.maximum is None:
            raise ConfigError(f"{path} has neither min nor max")
        if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
            raise ConfigError(f"{path}.min is {rule.minimum}, above max {rule.maximum}")
    if rule.kind == "pattern":
        try:
            re.compile(rule.pattern)
        except re.error as error:
            raise ConfigError(
                f"{path}.pattern is {rule.pattern!r}, not a regular expression: {error}"
            ) from error


def _text(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{path} holds {value!r}, allowed are texts and numbers")


def _known_column(source: Input, name: str, path: str) -> None:
    if name not in source.names:
        raise ConfigError(f"{path} names column {name!r}, the input has {', '.join(source.names)}")
