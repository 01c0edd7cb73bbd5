"""Defines the rules that a record must pass before it is scored.

Rules are applied in the order of the file, after the implicit ones such as `arity` and `type`; the first that
fails is the record's reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from batch_inference.common.formatting import suggest_name

# Rules that the preprocessing job always applies.
IMPLICIT_RULES = ("quoting", "json", "encoding", "arity", "type", "line break", "function")


def _text_or_number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 - pydantic turns only ValueError into a message about the field
            f"found {str(value).lower()}; allowed are texts and numbers; quote the text, "
            f"so that YAML does not read it as a boolean"
        )
    if not isinstance(value, str | int | float):
        raise ValueError(f"found {value!r}; allowed are texts and numbers")  # noqa: TRY004 - as above
    return value


Cell: TypeAlias = Annotated[str | int | float, BeforeValidator(_text_or_number)]


def _keep_integer(value: object, as_float: ValidatorFunctionWrapHandler) -> int | float:
    number: float = as_float(value)
    return value if type(value) is int else number


#: An integer stays an integer: above 2**53 a float is not exact.
Bound: TypeAlias = Annotated[
    float, WrapValidator(_keep_integer), PlainSerializer(lambda bound: bound, return_type=int | float)
]


@cache
def _number_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields that take numbers, or collections of numbers, and no booleans."""
    kinds = {name: _value_types(field.annotation) for name, field in model.model_fields.items()}
    return frozenset(
        name
        for name, found in kinds.items()
        if found & {int, float} and not found & {bool, str, Any, JsonValue}
    )


def _value_types(annotation: object) -> set[object]:
    """The types that an annotation allows for values, without those of the keys of mappings."""
    parts = get_args(getattr(annotation, "__value__", annotation))
    if get_origin(annotation) is dict:
        parts = parts[1:]
    return set().union(*map(_value_types, parts)) if parts else {annotation}


def stringify_booleans(model: type[BaseModel], data: object) -> object:
    """The input of a model with booleans as texts where a number is expected: pydantic would read them as 1 and 0."""
    if not isinstance(data, dict):
        return data
    numbers = _number_fields(model)
    return {name: _as_text(value) if name in numbers else value for name, value in data.items()}


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return {name: _as_text(each) for name, each in value.items()}
    return [_as_text(each) for each in value] if isinstance(value, list) else value


class FrozenModel(BaseModel):
    """Base of the models of a pipeline file: frozen, without undeclared keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _stringify_booleans(cls, data: object) -> object:
        return stringify_booleans(cls, data)


class _Rule(FrozenModel):
    name: str = Field(
        default="",
        max_length=80,
        description="Name under which rejects are counted. Default: from rule and column.",
    )
    rule: str

    def get_label(self) -> str:
        """The name under which rejects are counted."""
        return self.name or self._build_default_name()

    def _build_default_name(self) -> str:
        raise NotImplementedError

    def list_columns(self) -> tuple[str, ...]:
        """Names of the columns that this rule reads."""
        raise NotImplementedError

    def to_job_config(self) -> dict[str, Any]:
        """The rule as the preprocessing job reads it, less what other sections of the pipeline add to it."""
        settings = self.model_dump(
            mode="json",
            exclude_none=True,
            exclude={"name", "rule", "column", "columns", "key", "method", "factor"},
        )
        return {"name": self.get_label(), "kind": self.rule, **settings}


class AllowedRule(_Rule):
    """The cell is one of the listed values."""

    rule: Literal["allowed"]
    column: str = Field(description="Name of the column.")
    values: tuple[Cell, ...] = Field(min_length=1, description="The values that may occur.")

    def _build_default_name(self) -> str:
        return f"{self.column} known"

    def list_columns(self) -> tuple[str, ...]:
        return (self.column,)

    def to_job_config(self) -> dict[str, Any]:
        return {**super().to_job_config(), "values": list(map(str, self.values))}


class RangeRule(_Rule):
    """The number lies between `min` and `max`; an empty cell passes."""

    rule: Literal["range"]
    column: str = Field(description="Name of the column.")
    min: Bound | None = Field(default=None, description="Smallest number allowed.")
    max: Bound | None = Field(default=None, description="Largest number allowed.")
    exclusive_min: bool = Field(default=False, description="Whether `min` itself is refused.")
    exclusive_max: bool = Field(default=False, description="Whether `max` itself is refused.")

    def _build_default_name(self) -> str:
        return f"{self.column} in range"

    def list_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @model_validator(mode="after")
    def _has_a_range(self) -> RangeRule:
        if self.min is None and self.max is None:
            raise ValueError("found neither min nor max; a range needs one of them, or both")
        if self.min is not None and self.max is not None:
            empty = self.min > self.max
            single = self.min == self.max and (self.exclusive_min or self.exclusive_max)
            if empty or single:
                raise ValueError(f"found min {self.min} and max {self.max}; no number lies between them")
        return self


class RequiredRule(_Rule):
    """The cells of these columns are not empty."""

    rule: Literal["required"]
    columns: tuple[str, ...] = Field(min_length=1, description="Columns that must have a value.")

    def _build_default_name(self) -> str:
        return f"{', '.join(self.columns)} present"[:80]

    def list_columns(self) -> tuple[str, ...]:
        return self.columns


class DuplicatesRule(_Rule):
    """A record is rejected when an earlier record of this run has the same key. Records rejected by an earlier rule do
    not count, records rejected by a later rule or the function do, so put this rule last."""

    rule: Literal["duplicates"]
    key: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns that make the key. Default: all columns."
    )

    def _build_default_name(self) -> str:
        return "no duplicates"

    def list_columns(self) -> tuple[str, ...]:
        return self.key or ()


class PatternRule(_Rule):
    """The whole cell matches a regular expression; an empty cell passes."""

    rule: Literal["pattern"]
    column: str = Field(description="Name of the column.")
    pattern: str = Field(
        min_length=1, description="A regular expression of Python's `re` for the whole cell."
    )

    def _build_default_name(self) -> str:
        return f"{self.column} well formed"

    def list_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @model_validator(mode="after")
    def _compiles(self) -> PatternRule:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"found the pattern {self.pattern!r}, which is not a regular expression: {error}"
            ) from None
        return self


class OutlierRule(_Rule):
    """The number lies within a range around the stored baseline; an empty cell passes."""

    rule: Literal["outlier"]
    column: str = Field(description="Name of the column.")
    method: Literal["iqr", "zscore"] = Field(
        description="iqr measures from the quartiles, zscore from the mean."
    )
    factor: float | None = Field(
        default=None,
        gt=0,
        description="How many interquartile ranges (1.5) or standard deviations (3) are allowed.",
    )

    def _build_default_name(self) -> str:
        return f"{self.column} no outlier"

    def list_columns(self) -> tuple[str, ...]:
        return (self.column,)


Rule: TypeAlias = Annotated[
    AllowedRule | RangeRule | RequiredRule | DuplicatesRule | PatternRule | OutlierRule,
    Field(discriminator="rule"),
]


def check_rules(rules: tuple[Rule, ...], column_types: Mapping[str, str]) -> None:
    """Raise ValueError when a rule names an unknown column, repeats a name, or compares text as a number."""
    seen: set[str] = set()
    for position, rule in enumerate(rules):
        where = f"rules[{position}]"
        label = rule.get_label()
        if label in IMPLICIT_RULES:
            raise ValueError(
                f"{where}.name: found {label!r}, which names a rule that is always applied; choose another"
            )
        if label in seen:
            raise ValueError(
                f"{where}.name: found {label!r} twice; rejects are counted by name, so give each its own"
            )
        seen.add(label)
        for column in rule.list_columns():
            if column not in column_types:
                known = list(column_types)
                raise ValueError(
                    f"{where}: found the column {column!r}; the input's columns are {', '.join(known)}"
                    f"{suggest_name(column, known)}"
                )
        if isinstance(rule, RangeRule | OutlierRule) and column_types[rule.column] == "string":
            what = "a range" if isinstance(rule, RangeRule) else "an outlier rule"
            raise ValueError(f"{where}: {rule.column} is a string; {what} needs a float or integer column")
