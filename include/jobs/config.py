"""preprocess.json as frozen nouns: what comes in, which rules hold, what the model sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from include.jobs.baseline import Baseline, parse_baseline
from include.jobs.errors import ConfigError
from include.jobs.fields import Fields
from include.jobs.input_config import TYPES, Column, Input, known_column, parse_input
from include.jobs.rule_config import Rule, parse_rules

__all__ = [
    "TYPES",
    "Column",
    "Config",
    "Function",
    "Group",
    "Impute",
    "Input",
    "Rule",
    "parse_config",
    "parse_groups",
    "read_config",
]

VERSION = 1
KEYS = (
    "version",
    "pipeline",
    "input_uri",
    "distribution",
    "input",
    "baseline",
    "rules",
    "impute",
    "function",
    "features",
    "sensitive",
    "shard_bytes",
)
DISTRIBUTIONS = ("ShardedByS3Key", "FullyReplicated")
IMPUTATIONS = ("median", "mean", "most_frequent", "constant")


@dataclass(frozen=True)
class Impute:
    """What the model sees in place of an empty cell; the record itself stays as it came."""

    column: str
    value: str


@dataclass(frozen=True)
class Function:
    """The user's own pandas function, in a module below the job's code."""

    module: str
    name: str


@dataclass(frozen=True)
class Group:
    """A column by whose values outcomes are counted.

    Attributes:
        edges: for a number, where one group ends and the next begins; none for a text.
    """

    column: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Config:
    """The whole of preprocess.json.

    Attributes:
        input_uri: where the input objects were listed; rejects and manifest name objects by it.
        distribution: as the `data` input was distributed over the instances.
        features: the columns that the model sees, in its order; with a function also ones that it makes.
        shard_bytes: wanted size of one shard, in bytes of input text.
    """

    pipeline: str
    input_uri: str
    distribution: str
    input: Input
    rules: tuple[Rule, ...]
    features: tuple[str, ...]
    shard_bytes: int
    imputes: tuple[Impute, ...]
    function: Function | None
    groups: tuple[Group, ...]


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
    top = Fields(document, "", KEYS)
    if top.get("version", int) != VERSION:
        raise ConfigError(f"version is {document['version']}, this job reads version {VERSION}")
    source = parse_input(top)
    baseline = parse_baseline(top, source)
    function = _function(top)
    shard_bytes = top.get("shard_bytes", int)
    if shard_bytes < 1:
        raise ConfigError(f"shard_bytes is {shard_bytes}, allowed is 1 or more")
    input_uri = top.get("input_uri", str)
    if not input_uri.endswith("/"):
        raise ConfigError(f"{top.at('input_uri')} is {input_uri!r}, allowed is a prefix that ends in /")
    return Config(
        pipeline=top.get("pipeline", str),
        input_uri=input_uri,
        distribution=top.choice("distribution", DISTRIBUTIONS),
        input=source,
        rules=parse_rules(top, source, baseline),
        features=_features(top, source, function),
        shard_bytes=shard_bytes,
        imputes=_imputes(top, source, baseline),
        function=function,
        groups=parse_groups(top, {column.name: column.type for column in source.columns}),
    )


def _imputes(top: Fields, source: Input, baseline: Baseline) -> tuple[Impute, ...]:
    imputes = []
    for index, value in enumerate(top.get("impute", list, [])):
        fields = Fields(value, f"impute[{index}]", ("column", "with", "value"))
        name = fields.get("column", str)
        known_column(source, name, f"impute[{index}].column")
        how = fields.choice("with", IMPUTATIONS)
        if how == "constant":
            imputes.append(Impute(name, fields.get("value", str)))
        else:
            found = baseline.get(name, how, f"impute[{index}]")
            imputes.append(
                Impute(name, found if isinstance(found, str) else _number(found, source.column(name)))
            )
    return tuple(imputes)


def _number(value: float, column: Column) -> str:
    return str(round(value)) if column.type == "integer" else repr(value)


def _function(top: Fields) -> Function | None:
    if not top.has("function"):
        return None
    fields = Fields(top.get("function", dict), "function", ("module", "name"))
    return Function(fields.get("module", str), fields.get("name", str))


def parse_groups(top: Fields, types: Mapping[str, str]) -> tuple[Group, ...]:
    """The field `sensitive`; `types` maps each column to its type."""
    groups = []
    for index, value in enumerate(top.get("sensitive", list, [])):
        fields = Fields(value, f"sensitive[{index}]", ("column", "edges"))
        name = fields.choice("column", list(types))
        edges = tuple(float(edge) for edge in fields.get("edges", list, []))
        if (types[name] != "string") != bool(edges):
            raise ConfigError(
                f"sensitive[{index}].edges: a number needs edges between its groups, a text has none"
            )
        if list(edges) != sorted(set(edges)):
            raise ConfigError(f"sensitive[{index}].edges must rise, found {list(edges)}")
        groups.append(Group(name, edges))
    return tuple(groups)


def _features(top: Fields, source: Input, function: Function | None) -> tuple[str, ...]:
    fields = Fields(top.get("features", dict), "features", ("columns",))
    names = fields.texts("columns")
    if not names:
        raise ConfigError("features.columns is empty: the model must see at least one column")
    for index, name in enumerate(names):
        if function and name not in source.names:
            continue  # the function makes it, or is told that it did not
        known_column(source, name, f"features.columns[{index}]")
        if source.column(name).optional:
            raise ConfigError(f"features.columns[{index}] is {name!r}, which an object may leave out")
    return names
