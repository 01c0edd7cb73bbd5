"""Builds the conditions of Search over resource properties, whose names and types come from SageMaker's shapes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_aws.api.errors import ValidationError

Resource = dict[str, Any]
Condition = Callable[[Resource], bool]

MAX_CONDITIONS = 50
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
TEXT_OPERATORS = ("Equals", "NotEquals", "Contains", "In")
ORDERED_OPERATORS = ("Equals", "NotEquals", *COMPARISONS)
OPERATORS: dict[str, tuple[str, ...]] = {
    "string": TEXT_OPERATORS,
    "boolean": ("Equals", "NotEquals"),
    **dict.fromkeys(("integer", "long", "float", "double", "timestamp"), ORDERED_OPERATORS),
}


@dataclass(frozen=True, slots=True)
class Property:
    """A property by its name in a filter: the path to its values in a resource, and their type."""

    name: str
    path: tuple[str, ...]
    type_name: str

    def read_values(self, resource: Resource) -> list[Any]:
        """Its values in `resource`: none if it is absent, several within a list."""
        if self.path[0] == "Tags" and len(self.path) > 1:
            tags: list[dict[str, str]] = resource.get("Tags") or []
            return [tag["Value"] for tag in tags if tag["Key"] == self.path[1]]
        found: list[Any] = [resource]
        for step in self.path:
            found = [each[step] for each in found if isinstance(each, dict) and each.get(step) is not None]
            found = [item for each in found for item in (each if isinstance(each, list) else [each])]
        return found


def find_property(shape: Shape, name: str) -> Property:
    """The property of this dotted name; keys of maps and tags come last, and may have dots themselves.

    Raises ValidationError for a name that the shape does not have.
    """
    steps = name.split(".")
    for number, step in enumerate(steps):
        shape = _element(shape)
        rest = ".".join(steps[number:])
        if shape.type_name == "map":
            value = cast(MapShape, shape).value
            return Property(name, (*steps[:number], rest), str(value.type_name))
        if number == 1 and steps[0] == "Tags":
            return Property(name, ("Tags", rest), "string")
        members = cast(StructureShape, shape).members if shape.type_name == "structure" else {}
        if step not in members:
            raise ValidationError(
                f"Unknown property name: {name}; {shape.name} has {', '.join(members) or 'no members'}"
            )
        shape = members[step]
    return Property(name, tuple(steps), str(_element(shape).type_name))


def build_condition(expression: dict[str, Any], shape: Shape) -> Condition:
    """The condition of a SearchExpression on resources of this shape; raises ValidationError for an invalid one."""
    every = list(_all_filters(expression))
    if len(every) > MAX_CONDITIONS:
        raise ValidationError(
            f"SearchExpression has {len(every)} conditions, allowed are {MAX_CONDITIONS} in all"
        )
    if sum(each.get("Operator") == "Contains" for each in every) > 1:
        raise ValidationError("'CONTAINS' operator usage limit of 1 exceeded.")
    return _expression(expression, shape)


def _expression(expression: dict[str, Any], shape: Shape) -> Condition:
    conditions = [
        *(_filter(each, shape) for each in expression.get("Filters", [])),
        *(_nested(each, shape) for each in expression.get("NestedFilters", [])),
        *(_expression(each, shape) for each in expression.get("SubExpressions", [])),
    ]
    if not conditions:
        raise ValidationError(
            "SearchExpression needs at least one of Filters, NestedFilters and SubExpressions"
        )
    combine = any if expression.get("Operator") == "Or" else all
    return lambda resource: combine(condition(resource) for condition in conditions)


def _nested(nested: dict[str, Any], shape: Shape) -> Condition:
    """One object of a list meets all filters, whose names begin with the list's."""
    name = nested["NestedPropertyName"]
    items = find_property(shape, name)
    if items.type_name != "structure":
        raise ValidationError(f"NestedPropertyName {name} is not a list of structures")
    element = shape
    for step in items.path:
        element = _element(cast(StructureShape, element).members[step])
    conditions = []
    for each in nested["Filters"]:
        if not each["Name"].startswith(f"{name}."):
            raise ValidationError(f"Filter {each['Name']} of NestedFilters must begin with {name}.")
        conditions.append(_filter({**each, "Name": each["Name"].removeprefix(f"{name}.")}, element))
    return lambda resource: any(
        all(condition(item) for condition in conditions) for item in items.read_values(resource)
    )


def _filter(search_filter: dict[str, Any], shape: Shape) -> Condition:
    found = find_property(shape, search_filter["Name"])
    name = search_filter.get("Operator", "Equals")
    if name == "Exists":
        return lambda resource: bool(found.read_values(resource))
    if name == "NotExists":
        return lambda resource: not found.read_values(resource)
    allowed = OPERATORS.get(found.type_name, ())
    if name not in allowed:
        raise ValidationError(
            f"Operator {name} is not supported for {found.name}, a property of type {found.type_name}; it takes "
            f"{', '.join((*allowed, 'Exists', 'NotExists'))}"
        )
    if "Value" not in search_filter:
        raise ValidationError(f"Filter {found.name} with operator {name} needs a Value")
    text = search_filter["Value"]
    if name == "In":
        wanted = {each.strip() for each in text.split(",")}
        return lambda resource: not wanted.isdisjoint(found.read_values(resource))
    if name == "Contains":
        return lambda resource: any(text in value for value in found.read_values(resource))
    value = _read_value(found, text)
    if name == "NotEquals":
        return lambda resource: value not in found.read_values(resource)
    compare: Callable[[Any, Any], bool] = COMPARISONS.get(name, operator.eq)
    return lambda resource: any(compare(each, value) for each in found.read_values(resource))


def _read_value(found: Property, text: str) -> Any:
    try:
        match found.type_name:
            case "string":
                return text
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "timestamp":
                time = datetime.fromisoformat(text)
                return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
    except (ValueError, KeyError, OverflowError) as error:
        form = {"timestamp": "of the form YYYY-mm-ddTHH:MM:SS", "boolean": "true or false"}
        raise ValidationError(
            f"Value {text!r} of filter {found.name} is not {form.get(found.type_name, 'a number')}"
        ) from error
    return number


def _all_filters(expression: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from expression.get("Filters", [])
    for nested in expression.get("NestedFilters", []):
        yield from nested["Filters"]
    for each in expression.get("SubExpressions", []):
        yield from _all_filters(each)


def _element(shape: Shape) -> Shape:
    while shape.type_name == "list":
        shape = cast(ListShape, shape).member
    return shape
