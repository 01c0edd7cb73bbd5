"""Numbers that templates turned into text become numbers again, wherever AWS's own model wants one."""

from __future__ import annotations

from typing import Any

from sagemaker_jobs.errors import RequestError

_TRUTH = {"true": True, "false": False}


def cast_to_shape(value: Any, shape: Any, path: str = "") -> Any:
    """Return ``value`` with text replaced by int, float or bool where botocore's ``shape`` has one.

    ``shape`` is the input shape of the operation, so every integer of the API is covered and text fields such
    as the values of ``Environment`` stay text. Members that the shape does not know are left alone: botocore
    names them. Raises RequestError with the field's full path, what was found and what is allowed.
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
        return whole_number(value, path)
    if kind in {"float", "double"}:
        return number(value, path)
    if kind == "boolean":
        return truth(value, path)
    return value


def whole_number(value: Any, field: str) -> int:
    """``value`` as an int; text such as "4" or "4.0" is taken, "", "None" and "4.5" are not."""
    as_float = _float(value)
    if as_float is None or not as_float.is_integer():
        raise RequestError(
            f"{field} is {value!r}; allowed is a whole number such as 4. If it comes from a template, the "
            "template rendered to something else: look at the task's Rendered Templates."
        )
    return int(value) if isinstance(value, int) else int(as_float)


def number(value: Any, field: str) -> float:
    """``value`` as a float; text that spells a finite number is taken."""
    as_float = _float(value)
    if as_float is None:
        raise RequestError(f"{field} is {value!r}; allowed is a number such as 0.5.")
    return as_float


def truth(value: Any, field: str) -> bool:
    """``value`` as a bool; the texts "true" and "false" are taken, in any case."""
    found = value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())
    if found is None:
        raise RequestError(f"{field} is {value!r}; allowed is true or false.")
    return found


def optional_number(value: Any, field: str) -> float | None:
    """``value`` as a float, or None where it is None or text that a template renders for "not set"."""
    if value is None or (isinstance(value, str) and value.strip() in {"", "None", "none"}):
        return None
    return number(value, field)


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
