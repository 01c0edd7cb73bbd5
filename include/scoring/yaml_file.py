"""Reading YAML safely: it makes no objects, and a key that stands twice is refused.

Plain words mean what YAML 1.2 says, as in editors: PyYAML's own 1.1 would read the value N as false and 22:30 as 1350.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from include.scoring.errors import PipelineError

Location: TypeAlias = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain scalars of YAML 1.2's core schema."""


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
    """Read one YAML document. Raises PipelineError when it cannot be read, parsed, or holds a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PipelineError(str(path), (f"cannot be read: {reason}",)) from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[Location, int] = {}
        if node is not None:
            _walk(node, (), lines, str(path), set())
        return YamlDocument(yaml.load(text, Loader=_Loader), lines)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PipelineError(
            str(path), (f"{where}not valid YAML: {error.problem or error.context}",)
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise PipelineError(str(path), (f"not valid YAML: {error}",)) from None


def _walk(node: yaml.Node, at: Location, lines: dict[Location, int], file: str, above: set[int]) -> None:
    if id(node) in above:
        raise PipelineError(
            file, (f"line {node.start_mark.line + 1}: an alias that holds itself is not allowed",)
        )
    lines.setdefault(at, node.start_mark.line + 1)
    inner = above | {id(node)}
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
            _walk(value_node, (*at, key), lines, file, inner)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*at, position), lines, file, inner)
