"""Reads typed fields of a JSON document; errors name the field, what was found and what is allowed.

The container has no pydantic. The pipeline file is validated by pydantic before; this checks the JSON form again.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence

from batch_inference.jobs.common.errors import ConfigError

_KINDS = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_MISSING = object()


class FieldReader:
    """One JSON object and its path in the document, e.g. `input.columns[2]`."""

    def __init__(self, value: Any, path: str, allowed_names: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ConfigError(f"{path or 'the configuration'} is {_shown(value)}, allowed is an object")
        self.path = path
        self._value: Mapping[str, Any] = value
        allowed_names = list(allowed_names)
        unknown = sorted(set(value) - set(allowed_names))
        if unknown:
            raise ConfigError(
                f"{self.get_path(unknown[0])} is not known, allowed are {', '.join(allowed_names)}"
            )

    def get_path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def get(self, name: str, kind: type, default: Any = _MISSING) -> Any:
        """Get the field `name` as `kind`; null counts as missing."""
        value = self._value.get(name)
        if value is None:
            if default is _MISSING:
                raise ConfigError(f"{self.get_path(name)} is missing, it must be {_KINDS[kind]}")
            return default
        is_right_type = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if kind is float:
            is_right_type = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_right_type:
            raise ConfigError(f"{self.get_path(name)} is {_shown(value)}, allowed is {_KINDS[kind]}")
        return float(value) if kind is float else value

    def get_number(self, name: str) -> int | float | None:
        """Get the number in field `name`, integers exact; None if it is missing."""
        try:
            value: float | None = self.get(name, float, None)
        except OverflowError as error:
            found = _shown(self._value[name])
            raise ConfigError(
                f"{self.get_path(name)} is {found}, allowed is a finite number of 64 bits"
            ) from error
        return None if value is None else self._value[name]

    def get_choice(self, name: str, allowed: Sequence[str], default: Any = _MISSING) -> str:
        value: str = self.get(name, str, default)
        if value not in allowed:
            raise ConfigError(f"{self.get_path(name)} is {value!r}, allowed are {', '.join(allowed)}")
        return value

    def get_strings(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        values = self.get(name, list, default)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ConfigError(f"{self.get_path(name)}[{index}] is {_shown(value)}, allowed is a string")
        return tuple(values)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
