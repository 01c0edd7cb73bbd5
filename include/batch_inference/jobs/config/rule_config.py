"""Reads and validates the `rules` section of preprocess.json."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.baseline import Baseline
from batch_inference.jobs.config.fields import FieldReader
from batch_inference.jobs.config.input_config import InputConfig, require_column

RULE_KINDS = ("required", "range", "allowed", "pattern", "duplicates", "outlier")
OUTLIER_METHODS = ("iqr", "zscore")
# Always checked, in this order, before the rules of the pipeline (`function` comes last); these names are reserved.
IMPLICIT_RULES = ("quoting", "json", "encoding", "arity", "type", "line break", "function")


@dataclass(frozen=True)
class Rule:
    """One rule of the pipeline; which fields are used depends on `kind`.

    Minimum and maximum of an outlier rule come from the stored baseline, never from the records of this run;
    `bounds_reason` says how. A null (an empty cell) fails `required` only.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    values: tuple[str, ...] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False
    pattern: str = ""
    bounds_reason: str = ""


def parse_rules(root: FieldReader, input_config: InputConfig, baseline: Baseline) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for index, value in enumerate(root.get("rules", list, [])):
        rule = _parse_rule(value, f"rules[{index}]", input_config, baseline)
        if rule.name in IMPLICIT_RULES or rule.name in {other.name for other in rules}:
            raise ConfigError(
                f"rules[{index}].name is {rule.name!r}, which is taken; give each rule its own name"
            )
        rules.append(rule)
    return tuple(rules)


# The fields of each kind of rule, in addition to `name` and `rule`.
_RULE_FIELDS = {
    "required": ("columns",),
    "range": ("column", "min", "max", "exclusive_min", "exclusive_max"),
    "allowed": ("column", "values"),
    "pattern": ("column", "pattern"),
    "duplicates": ("key",),
    "outlier": ("column", "method", "factor"),
}


def _parse_rule(value: Any, path: str, input_config: InputConfig, baseline: Baseline) -> Rule:
    kind = FieldReader(value, path, value if isinstance(value, dict) else ()).get_choice("rule", RULE_KINDS)
    fields = FieldReader(value, path, ("name", "rule", *_RULE_FIELDS[kind]))
    if kind in ("required", "duplicates"):
        key = "columns" if kind == "required" else "key"
        columns = (
            fields.get_strings(key) if fields.has(key) or kind == "required" else input_config.column_names
        )
        if not columns:
            raise ConfigError(f"{fields.get_path(key)} is empty")
    else:
        columns = (fields.get("column", str),)
    for name in columns:
        require_column(input_config, name, path)
    default = kind if kind == "duplicates" else f"{kind} {', '.join(columns)}"
    rule = Rule(
        name=fields.get("name", str, default),
        kind=kind,
        columns=columns,
        values=tuple(_format_value(one, fields.get_path("values")) for one in fields.get("values", list, []))
        if kind == "allowed"
        else (),
        minimum=fields.get_number("min") if kind == "range" else None,
        maximum=fields.get_number("max") if kind == "range" else None,
        exclusive_min=fields.get("exclusive_min", bool, False) if kind == "range" else False,
        exclusive_max=fields.get("exclusive_max", bool, False) if kind == "range" else False,
        pattern=fields.get("pattern", str) if kind == "pattern" else "",
    )
    _check_rule(rule, path, input_config)
    return _resolve_outlier_bounds(rule, fields, baseline) if kind == "outlier" else rule


def _resolve_outlier_bounds(rule: Rule, fields: FieldReader, baseline: Baseline) -> Rule:
    """Compute the bounds of an outlier rule from the baseline."""
    name = rule.columns[0]
    factor = fields.get("factor", float, None)
    if fields.get_choice("method", OUTLIER_METHODS) == "iqr":
        factor = 1.5 if factor is None else factor
        low, high = (baseline.get_number(name, which, fields.path) for which in ("q1", "q3"))
        reach = factor * (high - low)
        why = f"{factor:g} times the baseline's interquartile range around its quartiles {low:g} and {high:g}"
    else:
        factor = 3.0 if factor is None else factor
        low = high = baseline.get_number(name, "mean", fields.path)
        reach = factor * baseline.get_number(name, "std", fields.path)
        why = f"{factor:g} standard deviations around the baseline's mean {low:g}"
    if factor <= 0 or reach < 0:
        raise ConfigError(f"{fields.path}: factor {factor:g} leaves no room around the baseline's values")
    return replace(rule, minimum=low - reach, maximum=high + reach, bounds_reason=why)


def _check_rule(rule: Rule, path: str, input_config: InputConfig) -> None:
    if rule.kind == "allowed" and not rule.values:
        raise ConfigError(f"{path}.values is missing or empty: no record could pass")
    if rule.kind in ("range", "outlier") and not input_config.get_column(rule.columns[0]).is_numeric:
        article = "a range" if rule.kind == "range" else "an outlier rule"
        raise ConfigError(
            f"{path}.column is {rule.columns[0]!r}, a string; {article} needs an integer or float column"
        )
    if rule.kind == "range":
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


def _format_value(value: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{path} holds {value!r}, allowed are strings and numbers")
