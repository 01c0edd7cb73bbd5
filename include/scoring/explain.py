"""Turns pydantic's errors into sentences: field, what was found, what is allowed, and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from include.scoring.messages import did_you_mean, one_of

Location: TypeAlias = tuple[str | int, ...]
LineOf: TypeAlias = Callable[[Location], int | None]

#: Problems of one file that are told: an alias can repeat one a hundred thousand times.
MOST_TOLD = 100


def explain(error: ValidationError, model: type[BaseModel], line_of: LineOf | None = None) -> tuple[str, ...]:
    """One sentence for each problem, in the order of the document; where there are very many, for the first of them.

    `line_of` gives the line of a field in the file, if there is one.
    """
    found: list[tuple[int, str]] = []
    for detail in error.errors(include_url=False)[:MOST_TOLD]:
        location, owner = _real_location(detail["loc"], model)
        sentence = _sentence(detail, location, owner)
        if not location:
            # A check over several fields begins its sentence with the field it is about.
            location, sentence = _field_named_in(sentence)
        line = line_of(location) if line_of else None
        where = ", ".join(part for part in (f"line {line}" if line else "", _path(location)) if part)
        found.append((line or 0, f"{where}: {sentence}" if where else sentence))
    problems = dict.fromkeys(text for _, text in sorted(found, key=lambda item: item[0]))
    if error.error_count() > MOST_TOLD:
        problems[f"and {error.error_count() - MOST_TOLD:,} more"] = None
    return tuple(problems)


def _real_location(location: Location, model: type[BaseModel]) -> tuple[Location, type[BaseModel] | None]:
    """Drop the tags that pydantic adds for members of unions; give the model that holds the last field."""
    real: list[str | int] = []
    owner: type[BaseModel] | None = model
    candidates: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            real.append(part)
            continue
        if part == "[key]":
            continue  # what is wrong with a member of a mapping is its key, which stands before
        tagged = [c for c in candidates if part in _tags(c)]
        if tagged:
            candidates = tagged
            continue
        if len(real) and part in _TYPE_TAGS and not any(part in c.model_fields for c in candidates):
            continue
        owner = candidates[0] if candidates else None
        real.append(part)
        holder = next((c for c in candidates if part in c.model_fields), None)
        candidates = _models_in(holder.model_fields[part].annotation) if holder else []
    return tuple(real), owner


_TYPE_TAGS = {"str", "int", "float", "bool", "constrained-str", "function-after[_s3_uri(), str]"}


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("rule")
    return tuple(str(tag) for tag in get_args(field.annotation)) if field is not None else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    annotation = getattr(annotation, "__value__", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _field_named_in(sentence: str) -> tuple[Location, str]:
    match = re.match(r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ", sentence)
    if match is None:
        return (), sentence
    parts = re.findall(r"[a-z_]+|\d+", match[1])
    return tuple(int(part) if part.isdigit() else part for part in parts), sentence[match.end() :]


def _path(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _sentence(detail: ErrorDetails, location: Location, owner: type[BaseModel] | None) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx") or {}
    value = detail["input"]
    if kind == "missing":
        return "is missing" + _described(owner, location)
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
        return f"found an unknown key; allowed are {one_of(known, last='and')}" + did_you_mean(
            str(location[-1]), known
        )
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"found {_shown(value)}; allowed is {one_of(allowed)}" + did_you_mean(str(value), allowed)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        if kind == "union_tag_not_found":
            return "the key 'rule' is missing; it says which kind of rule this is"
        tag = str(context["tag"])
        return f"found rule {tag!r}; allowed is {one_of(allowed)}" + did_you_mean(tag, allowed)
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"found {_shown(value)}; allowed is what matches {context['pattern']}" + _described(
            owner, location
        )
    limit = _limit(kind, context)
    if limit:
        return f"found {_shown(value)}; allowed is {limit}{_yaml_hint(value, kind)}"
    return f"found {_shown(value)}; {_lower(detail['msg'])}"


def _limit(kind: str, context: dict[str, Any]) -> str | None:
    tables = {
        "greater_than_equal": "a number of at least {ge:g}",
        "greater_than": "a number above {gt:g}",
        "less_than_equal": "a number of at most {le:g}",
        "less_than": "a number below {lt:g}",
        "string_too_short": "a text of at least {min_length} character(s)",
        "string_too_long": "a text of at most {max_length} characters",
        "too_short": "at least {min_length} item(s)",
        "too_long": "at most {max_length} items",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "float_parsing": "a number",
        "float_type": "a number",
        "model_type": "a mapping of keys",
        "model_attributes_type": "a mapping of keys",
        "dict_type": "a mapping of keys",
        "tuple_type": "a list",
        "string_type": "a text",
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "finite_number": "a finite number",
    }
    template = tables.get(kind)
    return template.format(**context) if template else None


def _described(owner: type[BaseModel] | None, location: Location) -> str:
    if owner is None or not location or str(location[-1]) not in owner.model_fields:
        return ""
    text = owner.model_fields[str(location[-1])].description
    return f" ({_lower(text.rstrip('.'))})" if text else ""


def _lower(text: str) -> str:
    # "ARN of the role" keeps its capitals, "Name of the column" does not.
    return text if len(text) > 1 and text[1].isupper() else text[:1].lower() + text[1:]


def _yaml_hint(value: object, kind: str) -> str:
    if isinstance(value, bool) and kind in ("string_type", "float_type", "int_type"):
        return "; quote the text, so that YAML does not read it as a truth value"
    if isinstance(value, int | float) and kind == "string_type":
        return f'; quote it: "{value}"'
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
