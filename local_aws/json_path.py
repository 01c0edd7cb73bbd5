"""Parses the JsonPath subset of DataProcessing's filters, for the API and the runner.

AWS's guide lists: $, .name, *, ['a','b'], [0,-1] and [1:4]. It also calls `$.field1.['child1','child2']` supported,
hence a dot may stand before a bracket. Names consist of letters, digits and hyphens, in brackets also of spaces: AWS
refuses an underscore, and a dot in a bracketed name would nest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

OPERATORS = ("$", "[", "]", "*", ".", " ", ",", ":", "-", "'")

_NAME = re.compile(r"[A-Za-z0-9-]+")
_QUOTED_NAME = re.compile(r"[A-Za-z0-9 -]+")
_NUMBER = re.compile(r"-?[0-9]+")
_SPACES = re.compile(r" *")


class PathSyntaxError(ValueError):
    """The text is not a path of the subset: `found` is the character that does not fit, empty at the end."""

    def __init__(self, text: str, position: int) -> None:
        self.found = text[position : position + 1]
        self.position = position + 1
        where = f"{self.found!r} at character {self.position}" if self.found else "end"
        super().__init__(
            f"unexpected {where}; a path is $, followed by .name, .*, [*], ['a','b'], [0,-1] or [1:4]"
        )


@dataclass(frozen=True, slots=True)
class Names:
    """.name, ['a'] or ['a','b']."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """.* or [*]."""


@dataclass(frozen=True, slots=True)
class Indexes:
    """[0] or [0,-1]."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """[1:4]; None is an end left open."""

    begin: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class SeveralRanges:
    """[0:2,246:], `text` between the brackets: AWS accepts it in CreateTransformJob and fails the job when it runs."""

    text: str


Element = TypeVar("Element")
Step = Names | Wildcard | Indexes | Range | SeveralRanges


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps after $; raises PathSyntaxError."""
    scanner = _Scanner(text)
    scanner.expect("$")
    steps: list[Step] = []
    while not scanner.is_at_end:
        steps.append(_read_step(scanner))
    return tuple(steps)


class _Scanner:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def is_at_end(self) -> bool:
        return self.position >= len(self.text)

    def take(self, character: str) -> bool:
        """Whether `character` comes next; steps over it if so."""
        if not self.text.startswith(character, self.position):
            return False
        self.position += len(character)
        return True

    def expect(self, character: str) -> None:
        if not self.take(character):
            self.fail()

    def match(self, pattern: re.Pattern[str]) -> str:
        """The longest match from here on, which may be empty."""
        found = pattern.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return found.group() if found else ""

    def skip_spaces(self) -> None:
        self.match(_SPACES)

    def fail(self) -> NoReturn:
        raise PathSyntaxError(self.text, self.position)


def _read_step(scanner: _Scanner) -> Step:
    has_dot = scanner.take(".")
    if scanner.take("["):
        return _read_brackets(scanner)
    if not has_dot:
        scanner.fail()
    if scanner.take("*"):
        return Wildcard()
    return Names((_read_name(scanner, _NAME),))


def _read_brackets(scanner: _Scanner) -> Step:
    start = scanner.position
    scanner.skip_spaces()
    if scanner.take("*"):
        scanner.skip_spaces()
        scanner.expect("]")
        return Wildcard()
    if scanner.text.startswith("'", scanner.position):
        names = _read_list(scanner, _read_quoted_name)
        return Names(tuple(names))
    elements = _read_list(scanner, _read_element)
    numbers = [element for element in elements if isinstance(element, int)]
    if len(numbers) == len(elements):
        return Indexes(tuple(numbers))
    first = elements[0]
    if len(elements) == 1 and isinstance(first, Range):
        return first
    return SeveralRanges(scanner.text[start : scanner.position - 1])


def _read_list(scanner: _Scanner, read: Callable[[_Scanner], Element]) -> list[Element]:
    """One or several, between commas, and the closing bracket."""
    elements = [read(scanner)]
    scanner.skip_spaces()
    while scanner.take(","):
        scanner.skip_spaces()
        elements.append(read(scanner))
        scanner.skip_spaces()
    scanner.expect("]")
    return elements


def _read_element(scanner: _Scanner) -> int | Range:
    begin = scanner.match(_NUMBER)
    scanner.skip_spaces()
    if not scanner.take(":"):
        if not begin:
            scanner.fail()
        return int(begin)
    scanner.skip_spaces()
    end = scanner.match(_NUMBER)
    return Range(int(begin) if begin else None, int(end) if end else None)


def _read_quoted_name(scanner: _Scanner) -> str:
    scanner.expect("'")
    name = _read_name(scanner, _QUOTED_NAME)
    scanner.expect("'")
    return name


def _read_name(scanner: _Scanner, pattern: re.Pattern[str]) -> str:
    name = scanner.match(pattern)
    if not name:
        scanner.fail()
    return name
