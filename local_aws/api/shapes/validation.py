"""Parses and validates a JSON request by its botocore shape, with AWS's error messages."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, cast

import regex
from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_aws.api.errors import SerializationError, ValidationError
from local_aws.api.shapes.service_models import BOTOCORE_VERSION

INTEGER_LIMITS = {"integer": 2**31, "long": 2**63}
NOT_NULL = "Member must not be null"
PATTERN_TIMEOUT_SECONDS = 1.0
# Parts of a member's path. Recursive shapes, as SearchExpression, have no depth limit of their own.
MAX_DEPTH = 150
# The largest epoch second that datetime can hold (9999-12-31); AWS refuses more as well.
MAX_TIMESTAMP = 253_402_300_799.0


def parse_request(shape: Shape | None, value: object, operation: str) -> dict[str, Any]:
    """The request as typed parameters; members that are null are left out.

    Raises SerializationError for a wrong JSON type; ValidationError for an unknown member, or for violated
    constraints, all of them in one message.
    """
    if not isinstance(value, dict):
        raise SerializationError(f"{_json_type(value)} can not be converted to a structure")
    if shape is None:
        return {}
    walker = _Walker(operation)
    parsed = walker.to_structure(cast(StructureShape, shape), value, "")
    if walker.clauses:
        raise build_violations_error(walker.clauses)
    return parsed


def format_violation(value: object, path: str, constraint: str) -> str:
    """One clause of AWS's message: value, path in lower camel case, constraint."""
    shown = "null" if value is None else f"'{_format_value(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def build_violations_error(clauses: list[str]) -> ValidationError:
    """AWS's sentence around one or more clauses."""
    plural = "" if len(clauses) == 1 else "s"
    return ValidationError(f"{len(clauses)} validation error{plural} detected: {'; '.join(clauses)}")


@cache
def compile_pattern(pattern: str) -> regex.Pattern[str] | None:
    """Compile a pattern of AWS (Java syntax); None for the few that `regex` does not compile."""
    try:
        return regex.compile(pattern)
    except regex.error:
        return None


class _Walker:
    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.clauses: list[str] = []

    def to_any(self, shape: Shape, value: object, path: str) -> Any:
        if path.count(".") > MAX_DEPTH:
            raise SerializationError(f"The request is nested more than {MAX_DEPTH} deep")
        match shape.type_name:
            case "structure":
                return self.to_structure(cast(StructureShape, shape), value, path)
            case "list":
                return self.to_list(cast(ListShape, shape), value, path)
            case "map":
                return self.to_map(cast(MapShape, shape), value, path)
            case "string":
                return self.to_string(shape, value, path)
            case "integer" | "long":
                return self.to_integer(shape, value, path)
            case "boolean":
                if not isinstance(value, bool):
                    raise SerializationError(f"{_json_type(value)} can not be converted to a Boolean")
                return value
            case "timestamp":
                return _timestamp(value)
            case _:
                return _number(value)

    def to_structure(self, shape: StructureShape, value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SerializationError(f"{_json_type(value)} can not be converted to a structure at '{path}'")
        known = shape.members
        parsed: dict[str, Any] = {}
        for name in value:
            if name not in known:
                raise ValidationError(
                    f"{self.operation} has no member '{_utf8(name)}'{f' in {path!r}' if path else ''}; "
                    f"botocore {BOTOCORE_VERSION} knows: {', '.join(known)}"
                )
        for name, member in known.items():
            below = f"{path}.{_camel(name)}" if path else _camel(name)
            if value.get(name) is not None:
                parsed[name] = self.to_any(member, value[name], below)
            elif name in shape.required_members:
                self.add_clauses(None, below, [NOT_NULL])
        return parsed

    def to_list(self, shape: ListShape, value: object, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise SerializationError(f"{_json_type(value)} can not be converted to a list at '{path}'")
        self.add_clauses(value, path, _limit_violations(shape, "length", len(value)))
        parsed = []
        for number, item in enumerate(value, start=1):
            below = f"{path}.{number}.member"
            if item is None:
                self.add_clauses(None, below, [NOT_NULL])
            else:
                parsed.append(self.to_any(shape.member, item, below))
        return parsed

    def to_map(self, shape: MapShape, value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SerializationError(f"{_json_type(value)} can not be converted to a map at '{path}'")
        self.add_clauses(value, path, _limit_violations(shape, "length", len(value)))
        parsed: dict[str, Any] = {}
        for key, item in value.items():
            if item is None:
                self.add_clauses(None, f"{path}.{_utf8(key)}.member", [NOT_NULL])
                continue
            parsed[_utf8(key)] = _text(item)
            for part, what, member in ((key, "keys", shape.key), (item, "value", shape.value)):
                broken = _string_violations(member, part)
                if broken:
                    clause = f"Map {what} must satisfy constraint: [{', '.join(broken)}]"
                    self.add_clauses({key: item}, path, [clause])
        return parsed

    def to_string(self, shape: Shape, value: object, path: str) -> str:
        text = _text(value)
        self.add_clauses(text, path, _string_violations(shape, text))
        return text

    def to_integer(self, shape: Shape, value: object, path: str) -> int:
        kind = "an Integer" if shape.type_name == "integer" else "a Long"
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise SerializationError(f"{_json_type(value)} can not be converted to {kind}")
        if not -INTEGER_LIMITS[shape.type_name] <= value < INTEGER_LIMITS[shape.type_name]:
            raise SerializationError(f"{_json_type(value)} at '{path}' is out of the range of {kind}")
        self.add_clauses(value, path, _limit_violations(shape, "value", value))
        return value

    def add_clauses(self, value: object, path: str, constraints: list[str]) -> None:
        self.clauses += [format_violation(value, path, constraint) for constraint in constraints]


def _string_violations(shape: Shape, text: str) -> list[str]:
    broken = _limit_violations(shape, "length", len(text))
    allowed = shape.metadata.get("enum")
    if allowed and text not in allowed:
        broken.append(f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, text):
        broken.append(f"Member must satisfy regular expression pattern: {pattern}")
    return broken


def _limit_violations(shape: Shape, what: str, number: int) -> list[str]:
    broken = []
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and number < low:
        broken.append(f"Member must have {what} greater than or equal to {low}")
    if high is not None and number > high:
        broken.append(f"Member must have {what} less than or equal to {high}")
    return broken


def _matches(pattern: str, text: str) -> bool:
    checked = compile_pattern(pattern)
    if checked is None:
        return True
    try:
        return checked.fullmatch(text, timeout=PATTERN_TIMEOUT_SECONDS) is not None
    except TimeoutError:
        # Only texts far beyond every length limit time out; AWS does not accept them either.
        return False


def _timestamp(value: object) -> float:
    seconds = _number(value)
    if not -MAX_TIMESTAMP <= seconds <= MAX_TIMESTAMP:
        raise SerializationError(f"{_json_type(value)} can not be converted to a Timestamp: out of range")
    return seconds


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SerializationError(f"{_json_type(value)} can not be converted to a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SerializationError(f"{_json_type(value)} is not a finite number")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SerializationError(f"{_json_type(value)} can not be converted to a String")
    return _utf8(value)


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON can escape half a surrogate pair, which has no UTF-8 encoding.
        raise SerializationError("STRING_VALUE holds a lone surrogate, which is not Unicode text") from None
    return text


def _format_value(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key}={_format_value(item)}" for key, item in value.items()) + "}"
        case list():
            return f"[{', '.join(_format_value(item) for item in value)}]"
        case _:
            return str(value)


def _json_type(value: object) -> str:
    match value:
        case bool():
            return "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            return "STRING_VALUE"
        case int():
            return "NUMBER_VALUE"
        case float():
            return "DECIMAL_VALUE"
        case list():
            return "Start of list"
        case dict():
            return "Start of structure or map"
        case _:
            return "NULL_VALUE"


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
