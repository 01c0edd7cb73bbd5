"""Formats pydantic's ValidationError as sentences: line, field, value found, allowed values, nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from batch_inference.common.formatting import join_quoted, suggest_name

Location: TypeAlias = tuple[str | int, ...]
LineLookup: TypeAlias = Callable[[Location], int | None]

#: Maximum problems listed for one file: a YAML alias can repeat one a hundred thousand times.
MAX_PROBLEMS = 100


def format_validation_error(
    error: ValidationError, model: type[BaseModel], find_line: LineLookup | None = None
) -> tuple[str, ...]:
    """One sentence for each problem, in the order of the document, for at most MAX_PROBLEMS of them.

    `find_line` returns the line of a field in the file, or None.
    """
    found: list[tuple[int, str]] = []
    for detail in error.errors(include_url=False)[:MAX_PROBLEMS]:
        location, owner = _drop_union_tags(detail["loc"], model)
        sentence = _format_problem(detail, location, owner)
        if not location:
            # The message of a model validator begins with the field that it is about.
            location, sentence = _split_field_from_sentence(sentence)
        line = find_line(location) if find_line else None
        where = ", ".join(
            part for part in (f"line {line}" if line else "", _format_location(location)) if part
        )
        found.append((line or 0, f"{where}: {sentence}" if where else sentence))
    problems = dict.fromkeys(text for _, text in sorted(found, key=lambda item: item[0]))
    if error.error_count() > MAX_PROBLEMS:
        problems[f"and {error.error_count() - MAX_PROBLEMS:,} more"] = None
    return tuple(problems)


def _drop_union_tags(location: Location, model: type[BaseModel]) -> tuple[Location, type[BaseModel] | None]:
    """The location without pydantic's tags of union members, and the model that declares the last field."""
    location_parts: list[str | int] = []
    owner: type[BaseModel] | None = model
    candidates: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            location_parts.append(part)
            continue
        if part == "[key]":
            continue  # the error is about a key of a mapping, which is the part before
        matching = [c for c in candidates if part in _tags(c)]
        if matching:
            candidates = matching
            continue
        if len(location_parts) and part in _TYPE_TAGS and not any(part in c.model_fields for c in candidates):
            continue
        owner = candidates[0] if candidates else None
        location_parts.append(part)
        container = next((c for c in candidates if part in c.model_fields), None)
        candidates = _models_in(container.model_fields[part].annotation) if container else []
    return tuple(location_parts), owner


_TYPE_TAGS = {"str", "int", "float", "bool", "constrained-str", "function-after[_s3_uri(), str]"}


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("rule")
    return tuple(str(tag) for tag in get_args(field.annotation)) if field is not None else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    annotation = getattr(annotation, "__value__", annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _split_field_from_sentence(sentence: str) -> tuple[Location, str]:
    match = re.match(r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ", sentence)
    if match is None:
        return (), sentence
    parts = re.findall(r"[a-z_]+|\d+", match[1])
    return tuple(int(part) if part.isdigit() else part for part in parts), sentence[match.end() :]


def _format_location(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _format_problem(detail: ErrorDetails, location: Location, owner: type[BaseModel] | None) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx") or {}
    value = detail["input"]
    if kind == "missing":
        return "is missing" + _describe_field(owner, location)
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
        return f"found an unknown key; allowed are {join_quoted(known, conjunction='and')}" + suggest_name(
            str(location[-1]), known
        )
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"found {_shorten(value)}; allowed is {join_quoted(allowed)}" + suggest_name(
            str(value), allowed
        )
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        if kind == "union_tag_not_found":
            return "the key 'rule' is missing; it says which kind of rule this is"
        tag = str(context["tag"])
        return f"found rule {tag!r}; allowed is {join_quoted(allowed)}" + suggest_name(tag, allowed)
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"found {_shorten(value)}; allowed is what matches {context['pattern']}" + _describe_field(
            owner, location
        )
    limit = _format_limit(kind, context)
    if limit:
        return f"found {_shorten(value)}; allowed is {limit}{_yaml_hint(value, kind)}"
    return f"found {_shorten(value)}; {_lower_first_letter(detail['msg'])}"


def _format_limit(kind: str, context: dict[str, Any]) -> str | None:
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


def _describe_field(owner: type[BaseModel] | None, location: Location) -> str:
    if owner is None or not location or str(location[-1]) not in owner.model_fields:
        return ""
    text = owner.model_fields[str(location[-1])].description
    return f" ({_lower_first_letter(text.rstrip('.'))})" if text else ""


def _lower_first_letter(text: str) -> str:
    # "ARN of the role" keeps its capitals, "Name of the column" does not.
    return text if len(text) > 1 and text[1].isupper() else text[:1].lower() + text[1:]


def _yaml_hint(value: object, kind: str) -> str:
    if isinstance(value, bool) and kind in ("string_type", "float_type", "int_type"):
        return "; quote the text, so that YAML does not read it as a boolean"
    if isinstance(value, int | float) and kind == "string_type":
        return f'; quote it: "{value}"'
    return ""


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
