"""The schema that editors use says what the loader says."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from batch_inference.config.json_schema import (
    DEFAULTS_SCHEMA_FILE,
    SCHEMA_FILE,
    render_defaults_schema,
    render_schema,
)
from tests.unit.builders import EXAMPLE, document


def test_the_schema_in_the_repository_is_current() -> None:
    assert SCHEMA_FILE.read_text() == render_schema(), "run: python -m batch_inference.config.json_schema"
    assert DEFAULTS_SCHEMA_FILE.read_text() == render_defaults_schema()


def test_the_schema_is_itself_valid_and_accepts_the_example() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema)


@pytest.mark.parametrize(
    "changes",
    [
        {"on_emty": "skip"},
        {"join.format": "xml"},
        {"name": None},
        {"matrix": {}},
        {"matrix": {"Europe": {}}},
        {"matrix": {"eu": {"name": "other"}}},
        {"matrix": {"eu": {"on_emty": "skip"}}},
        {"transform.max_instances": 0},
        {"name": "A b"},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(changes: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document(changes), json.loads(SCHEMA_FILE.read_text()))


@pytest.mark.parametrize(
    "changes",
    [
        {"role": None, "model": None},
        {"preprocess": {}},
        {"matrix": {"eu": {"region": "eu-central-1"}, "us": None}},
    ],
)
def test_what_a_file_may_inherit_is_not_required(changes: dict[str, object]) -> None:
    jsonschema.validate(document(changes), json.loads(SCHEMA_FILE.read_text()))


def test_defaults_may_have_any_key_but_the_name() -> None:
    schema = json.loads(DEFAULTS_SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({}, schema)
    jsonschema.validate({"owner": "risk", "preprocess": {"max_instances": 2}}, schema)
    refused: list[dict[str, object]] = [{"name": "churn"}, {"matrix": {"eu": {}}}, {"prises": {}}]
    for wrong in refused:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
