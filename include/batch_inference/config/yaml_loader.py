"""Reads YAML files safely: no tags, no alias bombs, no duplicate keys; keeps the line of each field.

Plain scalars follow YAML 1.2, as in editors: PyYAML's YAML 1.1 reads N as false and 22:30 as 1350.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import join_words
from batch_inference.config.validation_errors import Location, Place, format_validation_error

Model = TypeVar("Model", bound=BaseModel)

#: Enough for a pipeline of ten thousand columns.
MAX_BYTES = 500_000
#: Depth of lists and mappings with aliases expanded: PyYAML and the readers of its values recurse.
MAX_DEPTH = 50
#: Values with aliases expanded: a few lines of nested aliases expand to billions.
MAX_VALUES = 200_000
#: Python refuses to parse integers of more than 4,300 digits.
MAX_DIGITS = 4000
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
        if self._level == MAX_DEPTH:
            raise ComposerError(None, None, f"found more than {MAX_DEPTH} levels", event.start_mark)
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


class _FastLoader(_Loader):
    """Composes the same nodes of libyaml's events, in a third of the time; its messages are terse."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        events = yaml.CSafeLoader(text)
        vars(self).update(
            check_event=events.check_event, peek_event=events.peek_event, get_event=events.get_event
        )


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The value of a YAML file, and the line of each field; `files` names the file of a field from another file."""

    value: Any
    lines: dict[Location, int] = field(default_factory=dict)
    files: dict[Location, str] = field(default_factory=dict)

    def find_place(self, location: Location) -> Place | None:
        """File and line of a field, or of the closest field that contains it."""
        while location and location not in self.lines:
            location = location[:-1]
        line = self.lines.get(location)
        return None if line is None else (self.files.get(location, ""), line)


class _RefusedError(Exception):
    """A file is not read; the message is the problem."""


def read_yaml(path: Path) -> YamlDocument:
    """Read one YAML document.

    Raises PipelineError when it cannot be read or parsed, has a duplicate key, or expands to too many values.
    """
    text = ""
    try:
        text = _read_text(path)
        try:
            return _load((_FastLoader if yaml.__with_libyaml__ else _Loader)(text))
        except yaml.YAMLError:
            return _load(_Loader(text))  # for its message
    except _RefusedError as error:
        problem = str(error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = f"{where}not valid YAML: {error.problem or error.context}"
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"line {line}: not valid YAML: found the character {chr(error.character)!r}"
    raise PipelineError(str(path), (problem,))


def _load(loader: _Loader) -> YamlDocument:
    node = loader.get_single_node()
    lines: dict[Location, int] = {}
    if node is None:
        return YamlDocument(None, lines)
    _check_size(node, {})
    _record_lines(node, (), lines)
    return YamlDocument(loader.construct_document(node), lines)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise _RefusedError(f"is longer than {MAX_BYTES:,} bytes, the most that is read")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _RefusedError(
            f"line {line}: found the byte 0x{data[error.start]:02x}; allowed is utf-8"
        ) from None
    except OSError as error:
        raise _RefusedError(f"cannot be read: {error.strerror or error}") from None


def _check_size(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """The number of values of a node and their depth, with aliases expanded; each node is visited once.

    `known` has None for nodes in progress. An alias comes after its anchor, so the recursion is no deeper than the
    text is nested.
    """
    line = node.start_mark.line + 1
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise _RefusedError(f"line {line}: an alias that contains itself is not allowed")
        return found
    known[id(node)] = None
    values, levels = 1, 1
    for child in _children(node):
        inner_values, inner_levels = _check_size(child, known)
        values, levels = values + inner_values, max(levels, inner_levels + 1)
    if values > MAX_VALUES:
        problem = f"found more than {MAX_VALUES:,} values with aliases expanded"
        raise _RefusedError(f"line {line}: {problem}; write fewer")
    if levels > MAX_DEPTH:
        raise _RefusedError(f"line {line}: found more than {MAX_DEPTH} levels with aliases expanded")
    known[id(node)] = values, levels
    return values, levels


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _record_lines(node: yaml.Node, at: Location, lines: dict[Location, int]) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise _RefusedError(f"line {line}: a key must be a plain word")
            if key in seen:
                raise _RefusedError(
                    f"line {line}: found the key {key!r} again, after line {seen[key]}; allowed is once"
                )
            seen[key] = line
            lines[(*at, key)] = line
            _record_lines(value_node, (*at, key), lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _record_lines(item, (*at, position), lines)
    elif node.tag == _WHOLE_NUMBER and len(node.value) > MAX_DIGITS:
        raise _RefusedError(
            f"line {line}: found a number of {len(node.value):,} digits; allowed are {MAX_DIGITS:,}"
        )


def load_yaml_model(path: str | Path, model: type[Model]) -> Model:
    """The model in a YAML file. Raises PipelineError with file, line, field, value found and allowed values."""
    return validate_document(path, read_yaml_mapping(Path(path), model), model)


def read_yaml_mapping(path: Path, model: type[BaseModel]) -> YamlDocument:
    """Read one YAML document, a mapping of the keys of `model`; raises PipelineError."""
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        found = "nothing" if document.value is None else f"a {type(document.value).__name__}"
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        raise PipelineError(
            str(path), (f"found {found}; allowed is a mapping of keys such as {join_words(required[:3])}",)
        )
    return document


def validate_document(path: str | Path, document: YamlDocument, model: type[Model]) -> Model:
    """The model of a document that was read from `path`; raises PipelineError."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise PipelineError(
            str(path), format_validation_error(error, model, document.value, document.find_place)
        ) from None
