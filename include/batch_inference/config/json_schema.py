"""Writes the JSON schemas of pipeline files, for editors: `python -m batch_inference.config.json_schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batch_inference.config.inheritance import DEFAULTS_NAME, NAME_PART
from batch_inference.config.pipeline import Pipeline

SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "pipelines"
SCHEMA_FILE = SCHEMA_FOLDER / "pipeline.schema.json"
DEFAULTS_SCHEMA_FILE = SCHEMA_FOLDER / "defaults.schema.json"


def render_schema() -> str:
    """The JSON schema of a pipeline file as text.

    Only `name` is required: the file may inherit each other key, and each key of a section.
    """
    defaults = _build_defaults_schema()
    definitions = defaults.pop("$defs")
    changes = {**defaults, "title": "MatrixKey"}
    matrix = {
        "type": "object",
        "minProperties": 1,
        "description": "A DAG for each key, with the keys of the file that differ; {matrix} in a text is the key.",
        "propertyNames": {"pattern": f"^{NAME_PART.pattern}$"},
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/MatrixKey"}, {"type": "null"}]},
    }
    name = Pipeline.model_json_schema()["properties"]["name"]
    properties = {"name": name, "matrix": matrix, **defaults["properties"]}
    return _render(
        {
            **defaults,
            "title": "Pipeline",
            "properties": properties,
            "required": ["name"],
            "$defs": {**definitions, "MatrixKey": changes},
        }
    )


def render_defaults_schema() -> str:
    """The JSON schema of `_defaults.yaml` as text: any key of a pipeline file but the name, and none required."""
    return _render(_build_defaults_schema())


def _build_defaults_schema() -> dict[str, Any]:
    schema: dict[str, Any] = {**Pipeline.model_json_schema(), "title": DEFAULTS_NAME}
    for key in ("required", "description"):
        schema.pop(key, None)
    schema["properties"] = {key: each for key, each in schema["properties"].items() if key != "name"}
    for each in schema["properties"].values():
        options = [each, *each.get("anyOf", ())]
        for section in (option["$ref"].rpartition("/")[2] for option in options if "$ref" in option):
            schema["$defs"][section].pop("required", None)
    return schema


def _render(schema: dict[str, Any]) -> str:
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both schemas to SCHEMA_FOLDER."""
    SCHEMA_FILE.write_text(render_schema(), encoding="utf-8")
    DEFAULTS_SCHEMA_FILE.write_text(render_defaults_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
