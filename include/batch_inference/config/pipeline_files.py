"""Finds the pipelines' YAML files."""

from __future__ import annotations

from pathlib import Path

from batch_inference.config.pipeline import Pipeline, load_pipeline

PIPELINES_FOLDER = Path(__file__).resolve().parents[2] / "pipelines"


def load_pipeline_by_name(name: str) -> Pipeline:
    """The pipeline in `include/pipelines/<name>.yaml`. Raises PipelineError when it is missing or invalid."""
    return load_pipeline(PIPELINES_FOLDER / f"{name}.yaml")
