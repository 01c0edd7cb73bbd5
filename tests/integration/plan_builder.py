"""The plan.json of a run whose tasks a test calls one by one."""

from __future__ import annotations

from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import PIPELINE_KEY


def write_plan(
    storage: Storage, run_prefix: str, pipeline: Pipeline | dict[str, Any], *, nonce: str, **plan: Any
) -> None:
    """Freeze a pipeline, given as such or as the content of its file."""
    config = pipeline if isinstance(pipeline, Pipeline) else Pipeline.model_validate(pipeline)
    storage.write_json(
        RunPaths(run_prefix).plan, {"nonce": nonce, PIPELINE_KEY: config.to_file_content(), **plan}
    )
