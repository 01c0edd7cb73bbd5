"""Generates the tables of the embedded AWS's pages; `python -m local_aws document FOLDER` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from local_aws.api.operations import OPERATIONS
from local_aws.api.shapes.service_models import load_operation_model
from local_aws.api.shapes.support import SUPPORT_BY_OPERATION, MemberSupport
from local_aws.faults import FIELDS_BY_KIND, SUMMARY_BY_KIND, Fault
from local_aws.runner.runner_settings import RunnerSettings
from local_aws.settings import Settings

NESTED_SETTINGS = {"runner"}


def build_tables() -> dict[str, dict[str, str]]:
    """The generated parts of each page, by the name of its file and the name in the part's marks."""
    return {
        "settings.md": {
            "settings": build_settings_table(Settings),
            "runner settings": build_settings_table(RunnerSettings, "runner."),
        },
        "operations.md": {"operations": build_operations_sections()},
        "faults.md": {"faults": build_faults_table()},
    }


def update_page(name: str, text: str) -> str:
    """The `text` of a page with every part between `<!-- NAME -->` and `<!-- /NAME -->` generated anew."""
    for mark, table in build_tables()[name].items():
        pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        parts = pattern.split(text)
        if len(parts) != 4:
            raise ValueError(f"{name} needs the marks of the table '{mark}' once")
        before, opening, closing, after = parts
        text = f"{before}{opening}\n{table}\n\n{closing}{after}"
    return text


def update_pages(folder: Path) -> None:
    """Write the generated parts of the pages in `folder`."""
    for name in build_tables():
        page = folder / name
        page.write_text(update_page(name, page.read_text(encoding="utf-8")), encoding="utf-8")


def build_settings_table(model: type[BaseModel], prefix: str = "") -> str:
    """Name, default, allowed values and meaning of every setting of `model`."""
    schemas = model.model_json_schema()["properties"]
    rows = [
        (
            f"`{prefix}{name}`",
            _default(field),
            _allowed(schemas[name]),
            " ".join((field.description or "").split()),
        )
        for name, field in model.model_fields.items()
        if name not in NESTED_SETTINGS
    ]
    return _format_table(("setting", "default", "allowed", "what it is"), rows)


def build_operations_sections() -> str:
    """A section for each implemented operation with all of its members: done, differing or refused, and how."""
    sections = []
    for operation in OPERATIONS:
        by_support: dict[MemberSupport, list[str]] = {}
        for path in _paths(operation):
            by_support.setdefault(SUPPORT_BY_OPERATION[operation][path], []).append(f"`{path}`")
        rows = [(support.level, ", ".join(paths), support.note) for support, paths in by_support.items()]
        sections.append(f"### {operation}\n\n{_format_table(('support', 'members', 'difference'), rows)}")
    return "\n\n".join(sections)


def build_faults_table() -> str:
    """Every kind of fault with the fields it takes."""
    rows = []
    for kind, what in SUMMARY_BY_KIND.items():
        fields = ", ".join(f"`{name}`" for name in Fault.model_fields if name in FIELDS_BY_KIND[kind])
        rows.append((f"`{kind}`", fields, what))
    return _format_table(("kind", "its own fields", "what happens"), rows)


def _paths(operation: str) -> Iterable[str]:
    """Paths of the table in the order of botocore's model."""
    shape = load_operation_model(operation).input_shape
    order = list(getattr(shape, "members", {}))
    table = list(SUPPORT_BY_OPERATION[operation])
    return sorted(table, key=lambda path: (order.index(path.split(".")[0]), table.index(path)))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return f"`{json.dumps(value)}`"


def _allowed(schema: dict[str, Any]) -> str:
    options: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return " or ".join(_describe_schema(option) for option in options)


def _describe_schema(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    names = {"null": "none", "object": "mapping", "array": "list", "boolean": "true, false"}
    words = names.get(schema["type"], schema["type"])
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    return " ".join([words, *limits])


def _format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_escape_cell, line)) + " |" for line in lines)


def _escape_cell(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;")
