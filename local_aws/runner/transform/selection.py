"""Evaluates JSONPath filters of DataProcessing; the grammar is in local_aws/json_path.py.

An index or a range selects from arrays, a name from objects. As in the JSONPath that AWS's guide links to, a path with
`*`, several indexes or a range gives an array; several names give an object with these members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_aws.json_path import (
    Indexes,
    Names,
    PathSyntaxError,
    Range,
    SeveralRanges,
    Step,
    Wildcard,
    parse_path,
)


class FilterError(Exception):
    """The path is not one of AWS's, or selects what a record does not have."""


@dataclass(frozen=True, slots=True)
class _Selector:
    """`select` gives what the step finds in one value; `many` says that the result is a list of values."""

    select: Callable[[Any], Any]
    many: bool


class JsonPath:
    """A parsed path; `is_identity` is True for the path that changes nothing."""

    def __init__(self, path: str, *, inclusive_end: bool) -> None:
        """Raises FilterError when the path cannot be read, or holds what AWS does not evaluate."""
        self.path = path
        self._inclusive = inclusive_end
        try:
            steps = parse_path(path)
        except PathSyntaxError as error:
            raise self._build_error(str(error)) from error
        self._selectors = [self._selector(step) for step in steps]

    @property
    def is_identity(self) -> bool:
        return not self._selectors

    def apply(self, value: Any) -> Any:
        """What the path selects; raises FilterError when a name or an index is not there."""
        values, many = [value], False
        for selector in self._selectors:
            found = [selector.select(item) for item in values]
            values = [item for items in found for item in items] if selector.many else found
            many = many or selector.many
        return values if many else values[0]

    def _selector(self, step: Step) -> _Selector:
        match step:
            case Wildcard():
                return _Selector(self._every, many=True)
            case Names(names=(name,)):
                return _Selector(lambda value: self._member(value, name), many=False)
            case Names(names=names):
                return _Selector(
                    lambda value: {name: self._member(value, name) for name in names}, many=False
                )
            case Indexes(numbers=(number,)):
                return _Selector(lambda value: self._item(value, number), many=False)
            case Indexes(numbers=numbers):
                return _Selector(lambda value: [self._item(value, number) for number in numbers], many=True)
            case Range(begin=begin, end=end):
                return _Selector(lambda value: self._range(value, begin, end), many=True)
            case SeveralRanges(text=text):
                raise self._build_error(
                    "only single range filters of format (eg: [1:5]) are supported. "
                    f"Format [{text}] is not supported"
                )

    def _every(self, value: Any) -> list[Any]:
        if isinstance(value, dict):
            return list(value.values())
        return list(self._array(value))

    def _member(self, value: Any, name: str) -> Any:
        if not isinstance(value, dict) or name not in value:
            raise self._build_error(f"no member {name!r} in the record")
        return value[name]

    def _item(self, value: Any, number: int) -> Any:
        array = self._array(value)
        if not -len(array) <= number < len(array):
            raise self._build_error(f"index {number} is out of range, {len(array)} elements")
        return array[number]

    def _range(self, value: Any, begin: int | None, end: int | None) -> list[Any]:
        array = self._array(value)
        first = 0 if begin is None else self._bound(begin, array)
        last = len(array) if end is None else self._bound(end, array) + self._inclusive
        found = array[max(first, 0) : max(last, 0)]
        if not found:
            raise self._build_error(f"the range is empty, {len(array)} elements")
        return found

    def _bound(self, number: int, array: list[Any]) -> int:
        return number + len(array) if number < 0 else number

    def _array(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self._build_error("indexes need an array, the record has none there")
        return value

    def _build_error(self, problem: str) -> FilterError:
        return FilterError(f"Invalid JsonPath: {self.path}: {problem}")
