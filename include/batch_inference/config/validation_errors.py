"""Formats pydantic's ValidationError as sentences: line, field, value found, allowed values, nearest name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from batch_inference.common.formatting import join_quoted, suggest_name

Location: TypeAlias = tuple[str | int, ...]
#: The file of a field, empty for the file that is read, and the line in it.
Place: TypeAlias = tuple[str, int]
PlaceLookup: TypeAlias = Callable[[Location], Place | None]

#: Maximum problems listed for one file: a YAML alias can repeat one a hundred thousand times.
MAX_PROBLEMS = 100


class FieldError(ValueError):
    """A problem of a field of the validated model, or below it; `path` is the field's, such as `rules[0].name`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.problem = problem
        self.location: Location = tuple(
            int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)
        )


def check_name(name: str, known: Collection[str], path: str, what: str) -> None:
    """Raise FieldError for the field at `path` unless `known`, which the sentence calls `what`, has the name."""
    if name not in known:
        raise FieldError(
            path, f"found {name!r}; {what} are {', '.join(known) or 'none'}{suggest_name(name, known)}"
        )


def format_validation_error(
    error: ValidationError, model: type[BaseModel], document: object, find_place: PlaceLookup | None = None
) -> tuple[str, ...]:
    """One sentence for each problem, in the order of the document, for at most MAX_PROBLEMS of them.

    `document` is what `model` did not accept. `find_place` returns the file and line of a field, or None.
    """
    found: list[tuple[Place, str]] = []
    for detail in error.errors(include_url=False)[:MAX_PROBLEMS]:
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # pydantic counts the valid items only, each of the others has a sentence of its own
        location, owner = _find_field(detail, model, document)
        sentence = _format_problem(detail, location, owner)
        raised = (detail.get("ctx") or {}).get("error")
        if isinstance(raised, FieldError):
            location, sentence = (*location, *raised.location), raised.problem
        place = (find_place(location) if find_place else None) or ("", 0)
        found.append((place, format_problem(location, sentence, find_place)))
    problems = dict.fromkeys(text for _, text in sorted(found, key=lambda item: item[0]))
    if error.error_count() > MAX_PROBLEMS:
        problems[f"and {error.error_count() - MAX_PROBLEMS:,} more"] = None
    return tuple(problems)


def format_problem(location: Location, sentence: str, find_place: PlaceLookup | None = None) -> str:
    """A sentence about a field, after its file, where it is another one, its line and its name."""
    file, line = (find_place(location) if find_place else None) or ("", 0)
    parts = (file, f"line {line}" if line else "", _format_location(location))
    where = ", ".join(part for part in parts if part)
    return f"{where}: {sentence}" if where else sentence


def _find_field(
    detail: ErrorDetails, model: type[BaseModel], document: object
) -> tuple[Location, type[BaseModel] | None]:
    """The location in the document, and the model that declares its last field.

    Pydantic's location also names union members and validators. Those index nothing in the document.
    """
    location: list[str | int] = []
    value: Any = document
    owner, models = None, [model]
    for part in detail["loc"]:
        if len(models) > 1 and isinstance(part, str):
            # A union of models: pydantic names the member by the value of its discriminator.
            models = [each for each in models if part in _list_tags(each)]
            continue
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or part not in _get_fields(models):
                continue
            value = None
        location.append(part)
        if isinstance(part, str):
            owner = models[0] if models else None
            field = _get_fields(models).get(part)
            models = [] if field is None else _models_in(field.annotation)
    return tuple(location), owner


def _get_fields(models: list[type[BaseModel]]) -> dict[str, FieldInfo]:
    return models[0].model_fields if models else {}


def _list_tags(model: type[BaseModel]) -> list[object]:
    return [tag for field in model.model_fields.values() for tag in get_args(field.annotation)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


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
        known = list(owner.model_fields) if owner else []
        return f"found an unknown key; allowed are {join_quoted(known, conjunction='and')}" + suggest_name(
            str(location[-1]), known
        )
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"found {_shorten(value)}; allowed is {join_quoted(allowed)}" + suggest_name(
            str(value), allowed
        )
    if kind == "union_tag_not_found":
        key = context["discriminator"]
        return f"the key {key} is missing; it says which kind of {key[1:-1]} this is"
    if kind == "union_tag_invalid":
        allowed = re.findall(r"'([^']*)'", context["expected_tags"])
        tag = str(context["tag"])
        return (
            f"found {context['discriminator'][1:-1]} {tag!r}; allowed is {join_quoted(allowed)}"
            + suggest_name(tag, allowed)
        )
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
        "int_type": "a whole number",
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
    if kind == "string_type" and isinstance(value, bool):
        return "; quote the text, so that YAML does not read it as a boolean"
    if kind == "string_type" and isinstance(value, int | float):
        return f'; quote it: "{value}"'
    if (
        kind in ("int_type", "float_type")
        and isinstance(value, str)
        and re.fullmatch(r"-?\d+(\.\d+)?", value)
    ):
        return f"; write it without quotes: {value}"
    return ""


def _shorten(value: object) -> str:
    """A value as a YAML file spells it: `null`, `true`, `[1, "a"]`; texts in single quotes, as in all messages."""
    is_json = value is None or isinstance(value, bool | dict | list | tuple)
    text = json.dumps(value, ensure_ascii=False, default=str) if is_json else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
