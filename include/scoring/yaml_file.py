"""Reading YAML safely: it makes no objects, takes no longer than its text, and a key that stands twice is refused.

Plain words mean what YAML 1.2 says, as in editors: PyYAML's own 1.1 would read the value N as false and 22:30 as 1350.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from include.scoring.errors import PipelineError

Location: TypeAlias = tuple[str | int, ...]

#: A pipeline of ten thousand columns is no longer.
MOST_BYTES = 500_000
#: Levels of lists and mappings, aliases followed. Both PyYAML and what reads its values recurse.
MOST_LEVELS = 50
#: Values, aliases written out: a few lines of aliases to aliases mean billions.
MOST_VALUES = 200_000
#: Python makes no number of more than 4,300 digits.
MOST_DIGITS = 4000
_TEXT = "tag:yaml.org,2002:str"
_WHOLE_NUMBER = "tag:yaml.org,2002:int"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain scalars of YAML 1.2's core schema, and without tags."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _TEXT):
            raise ComposerError(
                None, None, f"found the tag {tag!r}; allowed are values without a tag", event.start_mark
            )
        if self._level == MOST_LEVELS:
            raise ComposerError(None, None, f"found more than {MOST_LEVELS} levels", event.start_mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """What a file says, and the line on which each of its fields stands."""

    value: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def line_of(self, location: Location) -> int | None:
        """The line of a field, or of the nearest field around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location)


def read_yaml(path: Path) -> YamlDocument:
    """Read one YAML document.

    Raises PipelineError when it cannot be read or parsed, holds a key twice, or means far more than it holds.
    """
    text = _read_text(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        if node is None:
            return YamlDocument(None, lines)
        _measure(node, {}, str(path))
        _walk(node, (), lines, str(path))
        return YamlDocument(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PipelineError(
            str(path), (f"{where}not valid YAML: {error.problem or error.context}",)
        ) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PipelineError(
            str(path), (f"line {line}: not valid YAML: found the character {chr(error.character)!r}",)
        ) from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise PipelineError(str(path), (f"is longer than {MOST_BYTES:,} bytes, the most that is read",))
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PipelineError(
            str(path), (f"line {line}: found the byte 0x{data[error.start]:02x}; allowed is utf-8",)
        ) from None
    except OSError as error:
        raise PipelineError(str(path), (f"cannot be read: {error.strerror or error}",)) from None


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None], file: str) -> tuple[int, int]:
    """How many values a node means and on how many levels, aliases written out; each node is looked at once.

    `known` has None for nodes that are being measured. An alias follows what it means, so this recurses no deeper than
    the text is nested.
    """
    line = node.start_mark.line + 1
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise PipelineError(file, (f"line {line}: an alias that holds itself is not allowed",))
        return found
    known[id(node)] = None
    values, levels = 1, 1
    for child in _children(node):
        inner_values, inner_levels = _measure(child, known, file)
        values, levels = values + inner_values, max(levels, inner_levels + 1)
    if values > MOST_VALUES:
        problem = f"found more than {MOST_VALUES:,} values, what aliases mean counted each time"
        raise PipelineError(file, (f"line {line}: {problem}; write fewer",))
    if levels > MOST_LEVELS:
        raise PipelineError(file, (f"line {line}: found more than {MOST_LEVELS} levels, aliases followed",))
    known[id(node)] = values, levels
    return values, levels


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _walk(node: yaml.Node, at: Location, lines: dict[Location, int], file: str) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise PipelineError(file, (f"line {line}: a key must be a plain word",))
            if key in seen:
                raise PipelineError(
                    file,
                    (f"line {line}: found the key {key!r} again, after line {seen[key]}; allowed is once",),
                )
            seen[key] = line
            lines[(*at, key)] = line
            _walk(value_node, (*at, key), lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*at, position), lines, file)
    elif node.tag == _WHOLE_NUMBER and len(node.value) > MOST_DIGITS:
        raise PipelineError(
            file,
            (f"line {line}: found a number of {len(node.value):,} digits; allowed are {MOST_DIGITS:,}",),
        )
