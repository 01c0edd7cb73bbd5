"""Reads and validates preprocess.json: input format, rules, imputation, features and sensitive columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.baseline import Baseline, parse_baseline
from batch_inference.jobs.config.fields import FieldReader
from batch_inference.jobs.config.input_config import (
    COLUMN_TYPES,
    Column,
    InputConfig,
    parse_input,
    require_column,
)
from batch_inference.jobs.config.rule_config import Rule, parse_rules

__all__ = [
    "COLUMN_TYPES",
    "Column",
    "Imputation",
    "InputConfig",
    "PreprocessConfig",
    "Rule",
    "SensitiveColumn",
    "UserFunction",
    "parse_config",
    "parse_sensitive_columns",
    "read_config",
]

CONFIG_VERSION = 1
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
IMPUTATION_METHODS = ("median", "mean", "most_frequent", "constant")


@dataclass(frozen=True)
class Imputation:
    """The value that the model gets for an empty cell of a column. The record itself is not changed."""

    column: str
    value: str


@dataclass(frozen=True)
class UserFunction:
    """Module and name of the user's pandas function."""

    module: str
    name: str


@dataclass(frozen=True)
class SensitiveColumn:
    """A column by whose values records, rejects and predictions are counted.

    Attributes:
        edges: bounds between the groups of a numeric column; empty for a string column.
    """

    column: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class PreprocessConfig:
    """The content of preprocess.json.

    Attributes:
        input_uri: prefix of the input objects; rejects and the manifest name objects by it.
        distribution: S3DataDistributionType of the `data` input.
        feature_columns: the columns sent to the model, in its order; with a function also columns that it adds.
        shard_bytes: target size of one shard, in bytes of input text.
    """

    pipeline: str
    input_uri: str
    distribution: str
    input_config: InputConfig
    rules: tuple[Rule, ...]
    feature_columns: tuple[str, ...]
    shard_bytes: int
    imputations: tuple[Imputation, ...]
    function: UserFunction | None
    sensitive_columns: tuple[SensitiveColumn, ...]


def read_config(path: Path) -> PreprocessConfig:
    """Read and validate preprocess.json. Raises ConfigError that names the field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return parse_config(document)


def parse_config(document: Any) -> PreprocessConfig:
    """Validate `document`. Raises ConfigError with the field, what was found and what is allowed."""
    root = FieldReader(document, "", KEYS)
    if root.get("version", int) != CONFIG_VERSION:
        raise ConfigError(f"version is {document['version']}, this job reads version {CONFIG_VERSION}")
    input_config = parse_input(root)
    baseline = parse_baseline(root, input_config)
    function = _parse_function(root)
    shard_bytes = root.get("shard_bytes", int)
    if shard_bytes < 1:
        raise ConfigError(f"shard_bytes is {shard_bytes}, allowed is 1 or more")
    input_uri = root.get("input_uri", str)
    if not input_uri.endswith("/"):
        raise ConfigError(
            f"{root.get_path('input_uri')} is {input_uri!r}, allowed is a prefix that ends in /"
        )
    return PreprocessConfig(
        pipeline=root.get("pipeline", str),
        input_uri=input_uri,
        distribution=root.get_choice("distribution", DISTRIBUTIONS),
        input_config=input_config,
        rules=parse_rules(root, input_config, baseline),
        feature_columns=_parse_feature_columns(root, input_config, function),
        shard_bytes=shard_bytes,
        imputations=_parse_imputations(root, input_config, baseline),
        function=function,
        sensitive_columns=parse_sensitive_columns(
            root, {column.name: column.type for column in input_config.columns}
        ),
    )


def _parse_imputations(
    root: FieldReader, input_config: InputConfig, baseline: Baseline
) -> tuple[Imputation, ...]:
    imputes = []
    for index, value in enumerate(root.get("impute", list, [])):
        fields = FieldReader(value, f"impute[{index}]", ("column", "strategy", "value"))
        name = fields.get("column", str)
        require_column(input_config, name, f"impute[{index}].column")
        method = fields.get_choice("strategy", IMPUTATION_METHODS)
        if method == "constant":
            imputes.append(Imputation(name, fields.get("value", str)))
        else:
            statistic = baseline.get(name, method, f"impute[{index}]")
            imputes.append(
                Imputation(
                    name,
                    statistic
                    if isinstance(statistic, str)
                    else _format_number(statistic, input_config.get_column(name)),
                )
            )
    return tuple(imputes)


def _format_number(value: float, column: Column) -> str:
    return str(round(value)) if column.type == "integer" else repr(value)


def _parse_function(root: FieldReader) -> UserFunction | None:
    if not root.has("function"):
        return None
    fields = FieldReader(root.get("function", dict), "function", ("module", "name"))
    return UserFunction(fields.get("module", str), fields.get("name", str))


def parse_sensitive_columns(
    root: FieldReader, column_types: Mapping[str, str]
) -> tuple[SensitiveColumn, ...]:
    """Read the field `sensitive`; `column_types` maps each column to its type."""
    groups = []
    for index, value in enumerate(root.get("sensitive", list, [])):
        fields = FieldReader(value, f"sensitive[{index}]", ("column", "edges"))
        name = fields.get_choice("column", list(column_types))
        edges = tuple(float(edge) for edge in fields.get("edges", list, []))
        if (column_types[name] != "string") != bool(edges):
            raise ConfigError(
                f"sensitive[{index}].edges: a number needs edges between its groups, a string has none"
            )
        if list(edges) != sorted(set(edges)):
            raise ConfigError(f"sensitive[{index}].edges must rise, found {list(edges)}")
        groups.append(SensitiveColumn(name, edges))
    return tuple(groups)


def _parse_feature_columns(
    root: FieldReader, input_config: InputConfig, function: UserFunction | None
) -> tuple[str, ...]:
    fields = FieldReader(root.get("features", dict), "features", ("columns",))
    names = fields.get_strings("columns")
    if not names:
        raise ConfigError("features.columns is empty: the model must see at least one column")
    for index, name in enumerate(names):
        if function and name not in input_config.column_names:
            continue  # the function adds it; a missing one raises FunctionError later
        require_column(input_config, name, f"features.columns[{index}]")
        if input_config.get_column(name).optional:
            raise ConfigError(f"features.columns[{index}] is {name!r}, which an object may leave out")
    return names
