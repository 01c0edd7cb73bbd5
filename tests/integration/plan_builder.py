"""The plan of a run whose tasks a test calls one by one."""

from __future__ import annotations

from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import PIPELINE_KEY
from tests.unit import builders


def build_plan(run_prefix: str, pipeline: Pipeline | None = None, **changes: Any) -> dict[str, Any]:
    """A plan as XCom has it, on the test's connection; members are replaced by `changes`, at any depth."""
    made = builders.plan(of=pipeline).to_xcom()
    return merge(made, {"run_prefix": run_prefix, "aws_conn_id": "aws_test", "region": None, **changes})


def merge(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The document with members replaced; those of objects one by one."""
    return {
        **document,
        **{
            key: merge(document[key], value)
            if isinstance(value, dict) and isinstance(document.get(key), dict)
            else value
            for key, value in changes.items()
        },
    }


def write_plan(
    storage: Storage, run_prefix: str, pipeline: Pipeline | dict[str, Any], *, nonce: str, **plan: Any
) -> None:
    """Freeze a pipeline, given as such or as the content of its file."""
    config = pipeline if isinstance(pipeline, Pipeline) else Pipeline.model_validate(pipeline)
    storage.write_json(
        RunPaths(run_prefix).plan,
        {**build_plan(run_prefix, config, nonce=nonce, **plan), PIPELINE_KEY: config.to_file_content()},
    )
