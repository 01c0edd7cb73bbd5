"""Defines the rules that a record must pass before it is scored.

Rules are applied in the order of the file, after the implicit ones such as `arity` and `type`; the first that
fails is the record's reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictFloat,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from batch_inference.common.formatting import suggest_name
from batch_inference.config.validation_errors import FieldError, check_name
from batch_inference.jobs.common.cell_types import (
    ALLOWED_TYPES,
    COLUMN_TYPES,
    is_column_type,
    is_number_type,
    is_time_type,
    parse_cell,
)

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


def _check_column_type(value: object) -> object:
    found = str(value)
    if not isinstance(value, str) or not is_column_type(value):
        raise ValueError(
            f"found {value!r}; allowed is {ALLOWED_TYPES}{suggest_name(found, [*COLUMN_TYPES, 'decimal(18,4)'])}"
        )
    return value


def _check_output_type(value: object) -> object:
    return value if value == "json" else _check_column_type(value)


_TYPE_PATTERN = rf"^({'|'.join(COLUMN_TYPES)}|decimal\([0-9]{{1,2}},[0-9]{{1,2}}\))$"
#: Type of a column of the input.
InputColumnType: TypeAlias = Annotated[
    str, BeforeValidator(_check_column_type), WithJsonSchema({"type": "string", "pattern": _TYPE_PATTERN})
]
#: Type of a column that is not the input's; json keeps a nested value as text.
ColumnType: TypeAlias = Annotated[
    str,
    BeforeValidator(_check_output_type),
    WithJsonSchema({"type": "string", "pattern": _TYPE_PATTERN.replace("(", "(json|", 1)}),
]
Cell: TypeAlias = Annotated[str | int | float, BeforeValidator(_text_or_number)]


def _keep_bound(value: object, as_float: ValidatorFunctionWrapHandler) -> int | float | str:
    if isinstance(value, str):
        return value
    number: float = as_float(value)
    return value if type(value) is int else number


#: An integer stays an integer: above 2**53 a float is not exact. A text is a bound of dates, timestamps or decimals.
Bound: TypeAlias = Annotated[
    StrictFloat,
    WrapValidator(_keep_bound),
    PlainSerializer(lambda bound: bound, return_type=int | float | str),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]


class FrozenModel(BaseModel):
    """Base of the models of a pipeline file: frozen, without undeclared keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False, allow_inf_nan=False)


class _Rule(FrozenModel):
    default_name: ClassVar[str]

    rule: str
    name: str = Field(
        default="",
        max_length=80,
        description="Name under which rejects are counted. Default: from rule and column.",
    )

    def get_label(self) -> str:
        """The name under which rejects are counted."""
        return self.name or self.default_name.format(", ".join(self.list_columns()))

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


class _ColumnRule(_Rule):
    column: str = Field(description="Name of the column.")

    def list_columns(self) -> tuple[str, ...]:
        return (self.column,)


class AllowedRule(_ColumnRule):
    """The cell is one of the listed values."""

    default_name = "{} known"

    rule: Literal["allowed"]
    values: tuple[Cell, ...] = Field(min_length=1, description="The values that may occur.")

    def to_job_config(self) -> dict[str, Any]:
        return {**super().to_job_config(), "values": list(map(str, self.values))}


class RangeRule(_ColumnRule):
    """The number, date or timestamp lies between `min` and `max`; an empty cell passes."""

    default_name = "{} in range"

    rule: Literal["range"]
    min: Bound | None = Field(default=None, description="Smallest value allowed, such as 0 or 2026-01-31.")
    max: Bound | None = Field(default=None, description="Largest value allowed.")
    exclusive_min: bool = Field(default=False, description="Whether `min` itself is refused.")
    exclusive_max: bool = Field(default=False, description="Whether `max` itself is refused.")

    @model_validator(mode="after")
    def _has_a_range(self) -> RangeRule:
        if self.min is None and self.max is None:
            raise ValueError("found neither min nor max; a range needs one of them, or both")
        if not any(isinstance(bound, str) for bound in (self.min, self.max)):
            self.check_bounds(self.min, self.max)
        return self

    def check_bounds(self, low: Any, high: Any) -> None:
        """Raise ValueError when no value lies between these, which are `min` and `max` as values of the column."""
        if low is not None and high is not None:
            empty = low > high
            single = low == high and (self.exclusive_min or self.exclusive_max)
            if empty or single:
                raise ValueError(f"found min {self.min} and max {self.max}; no value lies between them")


class RequiredRule(_Rule):
    """The cells of these columns are not empty."""

    default_name = "{} present"

    rule: Literal["required"]
    columns: tuple[str, ...] = Field(min_length=1, description="Columns that must have a value.")

    def get_label(self) -> str:
        return super().get_label()[:80]

    def list_columns(self) -> tuple[str, ...]:
        return self.columns


class DuplicatesRule(_Rule):
    """A record is rejected when an earlier record of this run has the same key. Records rejected by an earlier rule do
    not count, records rejected by a later rule or the function do, so put this rule last."""

    default_name = "no duplicates"

    rule: Literal["duplicates"]
    key: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns that make the key. Default: all columns."
    )

    def list_columns(self) -> tuple[str, ...]:
        return self.key or ()


class PatternRule(_ColumnRule):
    """The whole cell matches a regular expression; an empty cell passes."""

    default_name = "{} well formed"

    rule: Literal["pattern"]
    pattern: str = Field(
        min_length=1, description="A regular expression of Python's `re` for the whole cell."
    )

    @model_validator(mode="after")
    def _compiles(self) -> PatternRule:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"found the pattern {self.pattern!r}, which is not a regular expression: {error}"
            ) from None
        return self


class OutlierRule(_ColumnRule):
    """The number lies within a range around the stored baseline; an empty cell passes."""

    default_name = "{} no outlier"

    rule: Literal["outlier"]
    method: Literal["iqr", "zscore"] = Field(
        description="iqr measures from the quartiles, zscore from the mean."
    )
    factor: StrictFloat | None = Field(
        default=None,
        gt=0,
        description="How many interquartile ranges (1.5) or standard deviations (3) are allowed.",
    )


Rule: TypeAlias = Annotated[
    AllowedRule | RangeRule | RequiredRule | DuplicatesRule | PatternRule | OutlierRule,
    Field(discriminator="rule"),
]


def check_rules(rules: tuple[Rule, ...], column_types: Mapping[str, str]) -> None:
    """Raise ValueError when a rule names an unknown column, repeats a name, or does not fit its column's type."""
    seen: set[str] = set()
    for position, rule in enumerate(rules):
        where = f"rules[{position}]"
        label = rule.get_label()
        if label in IMPLICIT_RULES:
            raise FieldError(
                f"{where}.name", f"found {label!r}, which names a rule that is always applied; choose another"
            )
        if label in seen:
            raise FieldError(
                f"{where}.name", f"found {label!r} twice; rejects are counted by name, so give each its own"
            )
        seen.add(label)
        for column in rule.list_columns():
            check_input_column(column_types, column, where)
        if isinstance(rule, RangeRule):
            _check_range(rule, column_types[rule.column], where)
        elif isinstance(rule, OutlierRule) and not is_number_type(column_types[rule.column]):
            raise FieldError(
                where,
                f"{rule.column} is a {column_types[rule.column]}; an outlier rule needs a float, integer or decimal "
                f"column",
            )
        elif isinstance(rule, AllowedRule):
            _check_values(rule, column_types[rule.column], where)


def _check_range(rule: RangeRule, column_type: str, where: str) -> None:
    if not (is_number_type(column_type) or is_time_type(column_type)):
        advice = "; write an allowed rule" if column_type == "boolean" else ""
        raise FieldError(
            where,
            f"{rule.column} is a {column_type}; a range needs a float, integer, decimal, date or timestamp column"
            f"{advice}",
        )
    values: list[Any] = []
    for key in ("min", "max"):
        bound = getattr(rule, key)
        if isinstance(bound, str) and column_type in ("float", "integer"):
            raise FieldError(
                f"{where}.{key}", f"found {bound!r}; {rule.column} is a {column_type}, so write a number"
            )
        if bound is None or not (is_time_type(column_type) or isinstance(bound, str)):
            values.append(bound)
            continue
        value, allowed = parse_cell(str(bound), _get_bound_type(column_type))
        if allowed or value is None:
            raise FieldError(f"{where}.{key}", f"found {bound!r}; allowed is {allowed or 'a value'}")
        values.append(value)
    if None not in values and any(isinstance(bound, str) for bound in (rule.min, rule.max)):
        try:
            rule.check_bounds(*values)
        except ValueError as error:
            raise FieldError(where, str(error)) from None


def _check_values(rule: AllowedRule, column_type: str, where: str) -> None:
    """Raise FieldError for a value that no cell of the column has; those of numbers and strings are not looked at."""
    if column_type in ("string", "integer", "float"):
        return
    for value in rule.values:
        found, allowed = parse_cell(str(value), column_type)
        if allowed or found is None:
            raise FieldError(f"{where}.values", f"found {value!r}; allowed is {allowed or 'a value'}")


def _get_bound_type(column_type: str) -> str:
    """The type of a bound: that of a decimal may have more digits than the column."""
    return "decimal(38,19)" if column_type.startswith("decimal(") else column_type


def check_input_column(input_columns: Iterable[str], name: str, where: str) -> None:
    """Raise ValueError for the field `where` when the input has no column of this name."""
    check_name(name, list(input_columns), where, "the input's columns")
