"""Defines what happens between rules and features: imputation, the user's own function, sensitive groups.

Statistics come from a stored baseline, never from the run's own records: a prediction would depend on the other
records of its run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import Field, StrictFloat, model_validator

from batch_inference.config.sections.record_rules import FrozenModel, OutlierRule, Rule, check_input_column
from batch_inference.config.validation_errors import FieldError
from batch_inference.jobs.common.cell_types import (
    is_number_type,
    is_time_type,
    is_typed,
    parse_cell,
    parse_decimal_type,
)

_STATISTICS_BY_METHOD = {"iqr": ("q1", "q3"), "zscore": ("mean", "std")}


class ColumnBaseline(FrozenModel):
    """Stored statistics of one column, from training or from an earlier run's profile."""

    mean: StrictFloat | None = Field(default=None, description="Mean of the numbers.")
    std: StrictFloat | None = Field(default=None, ge=0, description="Their standard deviation.")
    median: StrictFloat | None = Field(default=None, description="Their median.")
    q1: StrictFloat | None = Field(default=None, description="Their first quartile.")
    q3: StrictFloat | None = Field(default=None, description="Their third quartile.")
    most_frequent: str | None = Field(default=None, description="The text that occurs most.")

    @model_validator(mode="after")
    def _quartiles_rise(self) -> Self:
        if self.q1 is not None and self.q3 is not None and self.q1 > self.q3:
            raise ValueError(
                f"found q1 {self.q1:g} above q3 {self.q3:g}; the first quartile is at most the third"
            )
        return self


class ImputeStep(FrozenModel):
    """Fills empty cells of a column in the features; the published record is unchanged."""

    column: str = Field(description="Name of the column.")
    strategy: Literal["median", "mean", "most_frequent", "constant"] = Field(
        description="A statistic of the baseline, or a constant."
    )
    value: str | None = Field(default=None, description="Text of the constant.")

    @model_validator(mode="after")
    def _a_constant_has_a_value(self) -> Self:
        if (self.strategy == "constant") != (self.value is not None):
            raise ValueError(
                'found a constant without a value; write it as value: "0"'
                if self.value is None
                else f"found value {self.value!r} with {self.strategy}; only a constant has a value"
            )
        return self


class FunctionSection(FrozenModel):
    """Your own function: a pandas DataFrame in, a pandas DataFrame out, in chunks; it must keep the index."""

    module: str = Field(
        pattern=r"^[A-Za-z0-9_][\w-]*(\.[A-Za-z0-9_][\w-]*)*$",
        description="Name, without .py, of the Python file beside the pipeline file or in a folder above it; the "
        "nearest is used.",
    )
    name: str = Field(pattern=r"^[A-Za-z_]\w*$", description="Name of the function in it.")


class SensitiveColumn(FrozenModel):
    """A column by whose values records and rejects are grouped; a number needs edges between its groups."""

    column: str = Field(description="Name of the column.")
    edges: tuple[StrictFloat, ...] = Field(
        default=(), description="Where one group of numbers ends and the next begins."
    )
    in_features: bool = Field(
        default=True, description="Whether the column is a feature. With false it is only used for groups."
    )

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"found edges [{', '.join(map(str, self.edges))}]; they must rise")
        return self


def check_cleaning(
    *,
    column_types: Mapping[str, str],
    baseline: Mapping[str, ColumnBaseline],
    rules: tuple[Rule, ...],
    impute: tuple[ImputeStep, ...],
    sensitive: tuple[SensitiveColumn, ...],
) -> None:
    """Raise ValueError for unknown columns, statistics that the baseline lacks, and groups without edges.

    `column_types` maps each input column to its type.
    """
    for name in baseline:
        check_input_column(column_types, name, f"baseline.{name}")
    for position, rule in enumerate(rules):
        if isinstance(rule, OutlierRule):
            for statistic in _STATISTICS_BY_METHOD[rule.method]:
                _check_in_baseline(baseline, rule.column, statistic, f"rules[{position}]")
    for position, step in enumerate(impute):
        check_input_column(column_types, step.column, f"impute[{position}].column")
        _check_strategy(step, column_types[step.column], f"impute[{position}]")
        if step.strategy != "constant":
            _check_in_baseline(baseline, step.column, step.strategy, f"impute[{position}]")
        _check_imputed_value(step, column_types[step.column], baseline, f"impute[{position}]")
    for position, group in enumerate(sensitive):
        check_input_column(column_types, group.column, f"sensitive[{position}].column")
        column_type = column_types[group.column]
        if is_time_type(column_type):
            raise FieldError(
                f"sensitive[{position}].column",
                f"{group.column} is a {column_type}, each value of which would be a group; allowed are columns of "
                "strings, booleans and numbers",
            )
        if is_number_type(column_type) != bool(group.edges):
            raise FieldError(
                f"sensitive[{position}].edges",
                f"{group.column} has type {column_type}; a number "
                "needs edges between its groups, a text or a boolean has none",
            )


def _check_strategy(step: ImputeStep, column_type: str, where: str) -> None:
    if step.strategy in ("mean", "median") and is_typed(column_type) and not is_number_type(column_type):
        raise FieldError(
            where,
            f"{step.column} is a {column_type}, which has no {step.strategy}; allowed are constant and "
            "most_frequent",
        )


def _check_imputed_value(
    step: ImputeStep, column_type: str, baseline: Mapping[str, ColumnBaseline], where: str
) -> None:
    # What is filled in is a feature, not a record: a number may have any text that the model reads.
    if column_type in ("boolean", "date", "timestamp", "timestamptz"):
        text = _resolve_value(step, column_type, baseline)
        value, allowed = parse_cell(text, column_type)
        if allowed or value is None:
            field = f"{where}.value" if step.value is not None else f"baseline.{step.column}.most_frequent"
            raise FieldError(field, f"found {text!r}; allowed is {allowed or 'a value'}")


def build_job_rules(
    rules: tuple[Rule, ...], column_names: Sequence[str], baseline: Mapping[str, ColumnBaseline]
) -> list[dict[str, Any]]:
    """The rules as the preprocessing job reads them; an outlier rule becomes a range around the baseline."""
    return [
        {
            **rule.to_job_config(),
            "columns": list(rule.list_columns() or column_names),
            **(_resolve_bounds(rule, baseline[rule.column]) if isinstance(rule, OutlierRule) else {}),
        }
        for rule in rules
    ]


def build_job_imputations(
    steps: tuple[ImputeStep, ...], column_types: Mapping[str, str], baseline: Mapping[str, ColumnBaseline]
) -> list[dict[str, str]]:
    """The imputations as the preprocessing job reads them: the text that replaces an empty cell of each column."""
    return [
        {"column": step.column, "value": _resolve_value(step, column_types[step.column], baseline)}
        for step in steps
    ]


def _resolve_bounds(rule: OutlierRule, baseline: ColumnBaseline) -> dict[str, Any]:
    """A range rule in place of an outlier rule, with the reason for its bounds."""
    first, second = (getattr(baseline, name) for name in _STATISTICS_BY_METHOD[rule.method])
    if rule.method == "iqr":
        factor = 1.5 if rule.factor is None else rule.factor
        reach, low, high = factor * (second - first), first, second
        why = f"{factor:g} times the baseline's interquartile range around its quartiles {low:g} and {high:g}"
    else:
        factor = 3.0 if rule.factor is None else rule.factor
        reach, low, high = factor * second, first, first
        why = f"{factor:g} standard deviations around the baseline's mean {low:g}"
    low, high = low - reach, high + reach
    return {"kind": "range", "min": low, "max": high, "expected": f"{low:g} to {high:g}: {why}"}


def _resolve_value(step: ImputeStep, column_type: str, baseline: Mapping[str, ColumnBaseline]) -> str:
    if step.value is not None:
        return step.value
    statistic = getattr(baseline[step.column], step.strategy)
    if isinstance(statistic, str):
        return statistic
    if size := parse_decimal_type(column_type):
        return f"{Decimal(repr(statistic)):.{size.scale}f}"
    return str(round(statistic)) if column_type == "integer" else repr(statistic)


def _check_in_baseline(
    baseline: Mapping[str, ColumnBaseline], column: str, statistic: str, where: str
) -> None:
    known: dict[str, Any] = baseline[column].model_dump(exclude_none=True) if column in baseline else {}
    if statistic not in known:
        raise FieldError(
            where,
            f"needs the {statistic} of {column}, but baseline has {', '.join(known) or 'nothing'} for it; "
            f"write it there: a statistic of the run's own records would make predictions depend on the other records",
        )
