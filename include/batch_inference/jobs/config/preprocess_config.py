"""The content of preprocess.json: input format, rules, imputation, features and sensitive columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, List, Literal, Optional, Tuple, Union

from batch_inference.jobs.common.cell_types import ALLOWED_TYPES, is_column_type, is_typed
from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.decoder import decode_version, read_document

CONFIG_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column of the input; an object may leave out an optional one."""

    name: str
    type: str
    optional: bool = False

    @property
    def is_typed(self) -> bool:
        """Whether a cell may be of another type: any column but one of strings."""
        return is_typed(self.type)


@dataclass(frozen=True)
class InputConfig:
    """Format and columns of the input objects.

    Attributes:
        columns: all columns in the order of the file; optional ones come last.
        escape: in CSV, the character that escapes a quote within quotes; a doubled quote always does.
        compression: `auto` detects it for each object by its first bytes.
    """

    columns: Tuple[Column, ...]
    format: Literal["csv", "jsonlines", "parquet"] = "csv"
    header: bool = False
    delimiter: str = ","
    escape: Optional[str] = None
    encoding: str = "utf-8"
    compression: Literal["none", "gzip", "zstd", "auto"] = "none"

    @property
    def column_names(self) -> Tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required_count(self) -> int:
        """Number of columns that are not optional."""
        return sum(not column.optional for column in self.columns)

    def find_missing(self, present: Collection[str]) -> List[str]:
        """Find the columns that are not optional and not in `present`."""
        return [column.name for column in self.columns if not column.optional and column.name not in present]

    def get_column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Rule:
    """One rule of the pipeline; which fields are used depends on `kind`. A null (an empty cell) fails `required` only.

    `min` and `max` are texts for dates and timestamps, and may be for decimals.
    `expected`: for a range that was computed from the baseline, what is allowed and why.
    """

    name: str
    kind: Literal["required", "range", "allowed", "pattern", "duplicates"]
    columns: Tuple[str, ...]
    values: Tuple[str, ...] = ()
    min: Optional[Union[int, float, str]] = None
    max: Optional[Union[int, float, str]] = None
    exclusive_min: bool = False
    exclusive_max: bool = False
    expected: str = ""
    pattern: str = ""


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

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class SensitiveColumn:
    """A column by whose values records, rejects and predictions are counted.

    `edges` are the bounds between the groups of a numeric column; empty for a string column.
    """

    column: str
    edges: Tuple[float, ...] = ()


@dataclass(frozen=True)
class PreprocessConfig:
    """The content of preprocess.json.

    Attributes:
        input_uri: prefix of the input objects; rejects and the manifest name objects by it.
        distribution: S3DataDistributionType of the `data` input.
        feature_columns: the columns sent to the model, in its order; with a function also columns that it adds.
        shard_bytes: target size of one shard, in bytes of input text.
        nonce: what only this run has: its hosts know each other by it, and who wrote the input did not know it.
    """

    version: int
    pipeline: str
    input_uri: str
    distribution: Literal["ShardedByS3Key", "FullyReplicated"]
    input: InputConfig
    feature_columns: Tuple[str, ...]
    shard_bytes: int
    nonce: str = ""
    rules: Tuple[Rule, ...] = ()
    imputations: Tuple[Imputation, ...] = ()
    function: Optional[UserFunction] = None
    sensitive_columns: Tuple[SensitiveColumn, ...] = ()


def read_config(path: Path) -> PreprocessConfig:
    """Read preprocess.json. Raises ConfigError that names the field."""
    return parse_config(read_document(path))


def parse_config(document: Any) -> PreprocessConfig:
    """Decode `document`. Raises ConfigError with the field, what was found and what is allowed."""
    config = decode_version(PreprocessConfig, document, CONFIG_VERSION)
    for index, column in enumerate(config.input.columns):
        if not is_column_type(column.type):
            raise ConfigError(f"input.columns[{index}].type is {column.type!r}, allowed are {ALLOWED_TYPES}")
    for index, rule in enumerate(config.rules):
        _check_pattern(rule.pattern, f"rules[{index}].pattern")
    return config


def _check_pattern(pattern: str, path: str) -> None:
    """Raise ConfigError unless it compiles here: the Python that validated the pipeline may be another one."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{path} is {pattern!r}, not a regular expression: {error}") from error
