"""The trigger form: Airflow's Params from the pipeline's own limits and defaults."""

from __future__ import annotations

from airflow.sdk import Param

from include.scoring.config import Pipeline
from include.scoring.params import param_specs


def form(pipeline: Pipeline) -> dict[str, Param]:
    """One Param per knob of a run. Nothing is read but the pipeline."""
    return {
        name: Param(
            spec.default, title=spec.title, description=spec.description, section=spec.section, **spec.schema
        )
        for name, spec in param_specs(pipeline).items()
    }
