"""Writes the two reference pages that follow from code: `docs/pipeline-file.md` and `docs/job-failures.md`.

Run by `make docs`; a test says when they are not current.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from include.scoring.config import Pipeline
from sagemaker_jobs import reasons
from sagemaker_jobs.reasons import REASONS, Reason

DOCS = Path(__file__).resolve().parent.parent / "docs"

PIPELINE_FILE_HEAD = """# Every key of a pipeline file

Written by `make docs` from the same model that reads the files, so it says what is allowed, not what was once. A key
without a default must be there. [`abalone.yaml`](../include/pipelines/abalone.yaml) is a whole file with comments.
"""

FAILURES_HEAD = """# Why jobs fail, and what to do

Written by `make docs` from the table that the sensors use. The log of a failed sensor, and its exception, hold the
job's status, FailureReason and ExitMessage, the last 50 lines of each container's log, and the advice below. The first
row that fits is taken. *Again* says whether the same job is tried again by itself.

| reason | known by | again | what to do |
|---|---|---|---|
"""


def render_pipeline_file() -> str:
    """The page of every key, section by section, in the order of the file."""
    schema = Pipeline.model_json_schema()
    named: Mapping[str, Any] = schema["$defs"]
    parts = [PIPELINE_FILE_HEAD, _section("The file", schema, named)]
    seen: set[str] = set()
    waiting = list(_references(schema["properties"]))
    while waiting:
        name = waiting.pop(0)
        if name in seen or "properties" not in named[name]:
            continue
        seen.add(name)
        parts.append(_section(_title(name), named[name], named))
        waiting = [*_references(named[name]["properties"]), *waiting]
    return "\n".join(parts)


def render_job_failures() -> str:
    """The page of known reasons."""
    others = (
        reasons.TIME_LIMIT,
        reasons.WAIT_LIMIT,
        reasons.STOPPED_BY_SOMEBODY,
        reasons.STOPPED_BY_US,
        reasons.UNKNOWN,
    )
    return FAILURES_HEAD + "".join(_failure(each) for each in (*REASONS, *others))


def _failure(reason: Reason) -> str:
    known_by = " or ".join(f"`{_cell(each)}`" for each in _alternatives(reason.pattern))
    again = "yes" if reason.retryable else "no"
    return f"| {reason.name} | {known_by or 'what happened'} | {again} | {_cell(reason.advice)} |\n"


def _alternatives(pattern: str) -> list[str]:
    """The alternatives of a regular expression at its top level."""
    found, depth, current = [], 0, ""
    for character in pattern:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            found.append(current)
            current = ""
        else:
            current += character
    return [each for each in (*found, current) if each]


def _section(title: str, schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"| `{key}` | {_cell(_text(value, named))} | {_cell(_allowed(value, named))} | "
        f"{'must be there' if key in required else _default(value)} |\n"
        for key, value in schema["properties"].items()
    )
    description = "" if title == "The file" else f"{schema.get('description', '')}\n\n"
    return f"## {title}\n\n{description}| key | what it is | allowed | default |\n|---|---|---|---|\n{rows}"


def _title(name: str) -> str:
    """`GoalsSection` as `Goals`, `RangeRule` as `Range rule`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).split()
    return " ".join(word for word in words if word != "section").capitalize()


def _references(value: Any) -> Iterator[str]:
    """Names of the sections that a part of the schema refers to, in order."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[1]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _text(value: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    if "description" in value:
        return str(value["description"])
    return " ".join(str(named[name].get("description", "")) for name in _references(value)).strip()


def _allowed(value: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in value:
        name = str(value["$ref"].rsplit("/", 1)[1])
        return f"see *{_title(name)}*" if "properties" in named[name] else "any value"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "anyOf" in value or "oneOf" in value:
        options = [_allowed(each, named) for each in value.get("anyOf", value.get("oneOf"))]
        return " or ".join(dict.fromkeys(each for each in options if each != "nothing"))
    kind = value.get("type")
    if kind == "array":
        items = _allowed(value.get("items", {}), named)
        return f"a list: {items}" + (f"; {value['maxItems']} at most" if "maxItems" in value else "")
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"a mapping: {_allowed(inner, named)}" if isinstance(inner, dict) else "a mapping"
    limits = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
        "pattern": "matching `{}`",
    }
    words = {
        "string": "a text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true`, `false`",
    }
    said = [text.format(value[key]) for key, text in limits.items() if key in value]
    return " ".join([words.get(str(kind), "nothing" if kind == "null" else "any value"), *said])


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ([], {}, ""):
        return "none"
    if isinstance(default, dict):
        return "its own defaults"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    """Text that stays inside a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {"pipeline-file.md": render_pipeline_file, "job-failures.md": render_job_failures}


def main() -> None:
    """Write the pages."""
    DOCS.mkdir(exist_ok=True)
    for name, render in PAGES.items():
        (DOCS / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
