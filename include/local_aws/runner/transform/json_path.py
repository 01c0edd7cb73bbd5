"""The JSONPath subset of DataProcessing: $, .name, .*, [*], ['a','b'], [0,-1], [1:4].

An index or a range selects from arrays, a name from objects. As in the JSONPath that AWS's guide links to, a path with
`*`, several indexes or a range gives an array; several names give an object with these members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\s*(?:
        \.(?P<name>[A-Za-z0-9-]+)
      | (?P<every>\.\*|\[\s*\*\s*\])
      | \[(?P<names>\s*'[^']*'\s*(?:,\s*'[^']*'\s*)*)\]
      | \[(?P<numbers>[-0-9:,\s]+)\]
    )\s*""",
    re.VERBOSE,
)


class FilterError(Exception):
    """The path is none of AWS's, or selects what a record does not have."""


@dataclass(frozen=True, slots=True)
class _Step:
    """`select` gives what the step finds in one value; `many` says that the result is a list of values."""

    select: Callable[[Any], Any]
    many: bool


class JsonPath:
    """A parsed path; `identity` for the path that changes nothing."""

    def __init__(self, path: str, *, inclusive_end: bool) -> None:
        """Raises FilterError when the path cannot be read."""
        self.path = path
        self._inclusive = inclusive_end
        text = path.strip()
        if not text.startswith("$"):
            raise FilterError(f"Invalid JsonPath: {path}: it must start with $")
        self._steps: list[_Step] = []
        at = 1
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None:
                raise FilterError(f"Invalid JsonPath: {path}: cannot read {text[at:]!r}")
            self._steps.append(self._step(match))
            at = match.end()

    @property
    def identity(self) -> bool:
        return not self._steps

    def apply(self, value: Any) -> Any:
        """What the path selects; raises FilterError when a name or an index is not there."""
        values, many = [value], False
        for step in self._steps:
            found = [step.select(item) for item in values]
            values = [item for items in found for item in items] if step.many else found
            many = many or step.many
        return values if many else values[0]

    def _step(self, match: re.Match[str]) -> _Step:
        if match["every"]:
            return _Step(self._every, many=True)
        if match["name"]:
            name = match["name"]
            return _Step(lambda value: self._member(value, name), many=False)
        if match["names"]:
            names = re.findall(r"'([^']*)'", match["names"])
            if len(names) == 1:
                return _Step(lambda value: self._member(value, names[0]), many=False)
            return _Step(lambda value: {name: self._member(value, name) for name in names}, many=False)
        return self._numbers(match["numbers"].replace(" ", ""))

    def _numbers(self, text: str) -> _Step:
        if ":" in text:
            begin, _, end = text.partition(":")
            if "," in text or ":" in end:
                raise FilterError(
                    f"Invalid JsonPath: {self.path}: only single range filters of format (eg: [1:5]) are supported. "
                    f"Format [{text}] is not supported"
                )
            return _Step(lambda value: self._range(value, begin, end), many=True)
        try:
            numbers = [int(number) for number in text.split(",")]
        except ValueError:
            raise FilterError(f"Invalid JsonPath: {self.path}: [{text}] is no list of indexes") from None
        if len(numbers) == 1:
            return _Step(lambda value: self._item(value, numbers[0]), many=False)
        return _Step(lambda value: [self._item(value, number) for number in numbers], many=True)

    def _every(self, value: Any) -> list[Any]:
        if isinstance(value, dict):
            return list(value.values())
        return list(self._array(value))

    def _member(self, value: Any, name: str) -> Any:
        if not isinstance(value, dict) or name not in value:
            raise FilterError(f"Invalid JsonPath: {self.path}: no member {name!r} in the record")
        return value[name]

    def _item(self, value: Any, number: int) -> Any:
        array = self._array(value)
        if not -len(array) <= number < len(array):
            raise FilterError(
                f"Invalid JsonPath: {self.path}: index {number} is out of range, {len(array)} elements"
            )
        return array[number]

    def _range(self, value: Any, begin: str, end: str) -> list[Any]:
        array = self._array(value)
        first = self._bound(begin, array) if begin else 0
        last = self._bound(end, array) if end else len(array)
        found = array[first : last + 1 if self._inclusive and end else last]
        if not found:
            raise FilterError(f"Invalid JsonPath: {self.path}: the range is empty, {len(array)} elements")
        return found

    def _bound(self, text: str, array: list[Any]) -> int:
        number = int(text)
        return number + len(array) if number < 0 else number

    def _array(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise FilterError(
                f"Invalid JsonPath: {self.path}: indexes need an array, the record has none there"
            )
        return value
