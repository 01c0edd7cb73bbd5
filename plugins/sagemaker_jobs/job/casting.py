"""Casts text from templates to the int, float or bool that botocore's service model requires."""

from __future__ import annotations

from typing import Any

from sagemaker_jobs.errors import RequestError

_BOOLEANS = {"true": True, "false": False}


def cast_to_shape(value: Any, shape: Any, path: str = "") -> Any:
    """Return ``value`` with text replaced by int, float or bool where botocore's ``shape`` has one.

    ``shape`` is the input shape of the operation, so every integer of the API is covered and text fields such
    as the values of ``Environment`` stay text. Members unknown to the shape are kept: botocore reports
    them. Raises RequestError with the field's full path, what was found and what is allowed.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = shape.members
        return {
            key: cast_to_shape(item, members[key], f"{path}.{key}" if path else key)
            if key in members
            else item
            for key, item in value.items()
        }
    if kind == "list" and isinstance(value, list | tuple):
        return [cast_to_shape(item, shape.member, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: cast_to_shape(item, shape.value, f"{path}[{key!r}]") for key, item in value.items()}
    if kind in {"integer", "long"}:
        return parse_int(value, path)
    if kind in {"float", "double"}:
        return parse_float(value, path)
    if kind == "boolean":
        return parse_bool(value, path)
    return value


def parse_int(value: Any, field: str) -> int:
    """``value`` as an int; accepts text such as "4" or "4.0", but not "", "None" or "4.5"."""
    as_float = _parse_finite_float(value)
    if as_float is None or not as_float.is_integer():
        raise RequestError(
            f"{field} is {value!r}; allowed is a whole number such as 4. If it comes from a template, the "
            "template rendered to something else: see the task's Rendered Templates."
        )
    return int(value) if isinstance(value, int) else int(as_float)


def parse_float(value: Any, field: str) -> float:
    """``value`` as a float; accepts text of a finite number."""
    as_float = _parse_finite_float(value)
    if as_float is None:
        raise RequestError(f"{field} is {value!r}; allowed is a number such as 0.5.")
    return as_float


def parse_bool(value: Any, field: str) -> bool:
    """``value`` as a bool; accepts the texts "true" and "false" in any case."""
    found = value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise RequestError(f"{field} is {value!r}; allowed is true or false.")
    return found


def parse_optional_float(value: Any, field: str) -> float | None:
    """``value`` as a float, or None where it is None or text that a template renders for "not set"."""
    if value is None or (isinstance(value, str) and value.strip() in {"", "None", "none"}):
        return None
    return parse_float(value, field)


def _parse_finite_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
