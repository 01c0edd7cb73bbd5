"""Evaluates JSONPath filters of DataProcessing; the grammar is in local_aws/json_path.py.

An index or a range selects from arrays, a name from objects. As in the JSONPath that AWS's guide links to, a path with
`*`, several indexes or a range gives an array; several names give an object with these members.
"""

from __future__ import annotations

from typing import Any

from local_aws.json_path import (
    Indexes,
    Names,
    PathSyntaxError,
    Range,
    SeveralRanges,
    Step,
    parse_path,
)


class FilterError(Exception):
    """The path is not one of AWS's, or selects what a record does not have."""


class JsonPath:
    """A parsed path; `is_identity` is True for the path that changes nothing."""

    def __init__(self, path: str, *, inclusive_end: bool) -> None:
        """Raises FilterError when the path cannot be read, or holds what AWS does not evaluate."""
        self.path = path
        self._inclusive = inclusive_end
        try:
            self._steps = parse_path(path)
        except PathSyntaxError as error:
            raise self._build_error(str(error)) from error
        for step in self._steps:
            if isinstance(step, SeveralRanges):
                raise self._build_error(
                    "only single range filters of format (eg: [1:5]) are supported. "
                    f"Format [{step.text}] is not supported"
                )

    @property
    def is_identity(self) -> bool:
        return not self._steps

    def apply(self, value: Any) -> Any:
        """What the path selects; raises FilterError when a name or an index is not there."""
        values, many = [value], False
        for step in self._steps:
            values = [item for each in values for item in self._select(step, each)]
            many = many or not (
                isinstance(step, Names) or (isinstance(step, Indexes) and len(step.numbers) == 1)
            )
        return values if many else values[0]

    def _select(self, step: Step, value: Any) -> list[Any]:
        """What a step finds in one value."""
        match step:
            case Names(names=(name,)):
                return [self._member(value, name)]
            case Names(names=names):
                return [{name: self._member(value, name) for name in names}]
            case Indexes(numbers=numbers):
                return [self._item(value, number) for number in numbers]
            case Range(begin=begin, end=end):
                return self._range(value, begin, end)
        return self._every(value)

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
