"""Writes the JSON schema of pipeline files, for editors: `python -m batch_inference.config.json_schema`."""

from __future__ import annotations

import json
from pathlib import Path

from batch_inference.config.pipeline import Pipeline

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "pipelines" / "pipeline.schema.json"


def render_schema() -> str:
    """The JSON schema as text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Pipeline.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema to SCHEMA_FILE."""
    SCHEMA_FILE.write_text(render_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
