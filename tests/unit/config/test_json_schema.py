"""The schema that editors use says what the loader says."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from batch_inference.config.json_schema import SCHEMA_FILE, render_schema
from tests.unit.builders import EXAMPLE, document


def test_the_schema_in_the_repository_is_current() -> None:
    assert SCHEMA_FILE.read_text() == render_schema(), "run: python -m batch_inference.config.json_schema"


def test_the_schema_is_itself_valid_and_accepts_the_example() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema)


@pytest.mark.parametrize(
    "changes",
    [
        {"on_emty": "skip"},
        {"join.format": "xml"},
        {"role": None},
        {"transform.max_instances": 0},
        {"name": "A b"},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(changes: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document(changes), json.loads(SCHEMA_FILE.read_text()))
