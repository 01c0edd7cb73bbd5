"""docker-compose.yaml as docker compose reads it: variables filled in, nothing else changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.checkout import REPO

COMPOSE_FILE = REPO / "docker-compose.yaml"
DOCKERFILE = REPO / "deploy" / "Dockerfile"

# `$$` is a dollar; `${NAME}`, `${NAME:-default}` and `${NAME:?message}` are the forms that the file uses. A default may
# hold variables itself.
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\}|(?P<wrong>.|$))"
)


class UnsetError(Exception):
    """A variable that must be set is not; carries the file's own message."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables filled in. Raises UnsetError where the file insists on a value."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["wrong"] is not None:
            raise ValueError(f"a lone $ in {text!r}: write $$ for a dollar")
        found = variables.get(match["name"], "")
        if found:
            return found
        if match["kind"] == "?":
            raise UnsetError(f"{match['name']}: {match['rest']}")
        if match["kind"] is None:
            raise ValueError(f"{match[0]} in {text!r} has neither a default nor a message")
        return interpolate(match["rest"], variables)

    return _VARIABLE.sub(value, text)


def interpolate_node(node: Any, variables: Mapping[str, str]) -> Any:
    """A YAML node with the variables of all its texts filled in."""
    if isinstance(node, dict):
        return {key: interpolate_node(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate_node(each, variables) for each in node]
    return interpolate(node, variables) if isinstance(node, str) else node


def read_compose_file() -> dict[str, Any]:
    """The file as YAML, anchors and merges resolved, variables not."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return document


def render_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file as docker compose acts on it, given these variables."""
    document: dict[str, Any] = interpolate_node(read_compose_file(), variables)
    return document


def iter_variables(text: str) -> Iterator[tuple[str, str | None]]:
    """Name and form (`?`, `-` or None) of each variable."""
    for match in _VARIABLE.finditer(text):
        if match["name"]:
            yield match["name"], match["kind"]
            yield from iter_variables(match["rest"] or "")


def read_env(path: Path) -> dict[str, str]:
    """A .env file: `NAME=value` lines; within single quotes a value is taken as it is."""
    found = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            quoted = len(value) > 1 and value[0] == value[-1] == "'"
            found[name] = value[1:-1] if quoted else value
    return found


def dockerfile_instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each line of the Dockerfile, continuation lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(instruction.upper(), argument) for instruction, argument in lines]
