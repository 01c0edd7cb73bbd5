"""The trigger form: Airflow's Params from the pipeline's own limits and defaults."""

from __future__ import annotations

from airflow.sdk import Param

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import build_param_specs


def build_form_params(pipeline: Pipeline) -> dict[str, Param]:
    """One Param for each run param. Reads nothing but the pipeline."""
    return {
        name: Param(
            spec.default, title=spec.title, description=spec.description, section=spec.section, **spec.schema
        )
        for name, spec in build_param_specs(pipeline).items()
    }
