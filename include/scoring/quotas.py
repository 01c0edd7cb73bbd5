"""AWS's quotas for the instances of jobs: of one type, and of all types together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from include.scoring.config import Pipeline
from include.scoring.history import STAGES, Stage
from include.scoring.params import RunParams

# AWS's own names.
OF_TYPE: Mapping[Stage, str] = {
    "preprocess": "{instance_type} for processing job usage",
    "transform": "{instance_type} for transform job usage",
    "join": "{instance_type} for processing job usage",
}
ACROSS: Mapping[Stage, str] = {
    "preprocess": "Number of instances across all processing jobs",
    "transform": "Number of instances across all transform jobs",
    "join": "Number of instances across all processing jobs",
}


class Quota(NamedTuple):
    """A quota by AWS's name."""

    name: str
    instances: int


def instance_types(pipeline: Pipeline, params: RunParams, stage: Stage) -> tuple[str, ...]:
    """The types that a stage may use in this run: the one that a person typed, else those of the pipeline.

    Nothing where the pipeline has no job for the stage.
    """
    limits = pipeline.limits_of(stage)
    if limits is None:
        return ()
    typed = {"preprocess": params.preprocess_instance_type, "transform": params.transform_instance_type}.get(
        stage
    )
    return (typed,) if typed else tuple(dict.fromkeys((limits.instance_type, *limits.instance_types)))


def quota_names(pipeline: Pipeline, params: RunParams) -> frozenset[str]:
    """The quotas that a run can meet."""
    return frozenset(
        name
        for stage in STAGES
        for each in instance_types(pipeline, params, stage)
        for name in (ACROSS[stage], OF_TYPE[stage].format(instance_type=each))
    )


def tightest(quotas: Mapping[str, int], stage: Stage, instance_type: str) -> Quota | None:
    """The lower of the two quotas of a job; None when neither is known."""
    names = (OF_TYPE[stage].format(instance_type=instance_type), ACROSS[stage])
    known = [Quota(name, quotas[name]) for name in names if name in quotas]
    return min(known, key=lambda quota: quota.instances, default=None)
