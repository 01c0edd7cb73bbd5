"""Where the pipelines' YAML files are."""

from __future__ import annotations

from pathlib import Path

from include.scoring.config import Pipeline, load_pipeline

FOLDER = Path(__file__).resolve().parents[1] / "pipelines"


def named(name: str) -> Pipeline:
    """The pipeline in `include/pipelines/<name>.yaml`. Raises PipelineError when it is absent or wrong."""
    return load_pipeline(FOLDER / f"{name}.yaml")
