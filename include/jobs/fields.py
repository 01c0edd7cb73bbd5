"""Reading a JSON document field by field; errors name the field, what was found and what is allowed.

The container has no pydantic; the pipeline's YAML was validated before, so this is the second lock.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence

from include.jobs.errors import ConfigError

_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_MISSING = object()


class Fields:
    """One JSON object and the path that led to it, e.g. `input.columns[2]`."""

    def __init__(self, value: Any, path: str, known: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ConfigError(f"{path or 'the configuration'} is {_shown(value)}, allowed is an object")
        self.path = path
        self._value: Mapping[str, Any] = value
        known = list(known)
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise ConfigError(f"{self.at(unknown[0])} is not known, allowed are {', '.join(known)}")

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def get(self, name: str, kind: type, default: Any = _MISSING) -> Any:
        """The field `name` as `kind`; null counts as left out."""
        value = self._value.get(name)
        if value is None:
            if default is _MISSING:
                raise ConfigError(f"{self.at(name)} is missing, it must be {_KINDS[kind]}")
            return default
        right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if kind is float:
            right = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not right:
            raise ConfigError(f"{self.at(name)} is {_shown(value)}, allowed is {_KINDS[kind]}")
        return float(value) if kind is float else value

    def number(self, name: str) -> int | float | None:
        """The field `name`, a whole number to the digit; None where it is left out."""
        try:
            value: float | None = self.get(name, float, None)
        except OverflowError as error:
            found = _shown(self._value[name])
            raise ConfigError(f"{self.at(name)} is {found}, allowed is a finite number of 64 bits") from error
        return None if value is None else self._value[name]

    def choice(self, name: str, allowed: Sequence[str], default: Any = _MISSING) -> str:
        value: str = self.get(name, str, default)
        if value not in allowed:
            raise ConfigError(f"{self.at(name)} is {value!r}, allowed are {', '.join(allowed)}")
        return value

    def texts(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        values = self.get(name, list, default)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ConfigError(f"{self.at(name)}[{index}] is {_shown(value)}, allowed is a text")
        return tuple(values)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
