"""Finds the AWS quotas that limit the instances of a job: of one type, and of all types together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import STAGES, Stage

# AWS's own names.
TYPE_QUOTA_NAMES: Mapping[Stage, str] = {
    "preprocess": "{instance_type} for processing job usage",
    "transform": "{instance_type} for transform job usage",
    "join": "{instance_type} for processing job usage",
}
TOTAL_QUOTA_NAMES: Mapping[Stage, str] = {
    "preprocess": "Number of instances across all processing jobs",
    "transform": "Number of instances across all transform jobs",
    "join": "Number of instances across all processing jobs",
}


class Quota(NamedTuple):
    """A quota: its name at AWS, and its number of instances."""

    name: str
    instances: int


def list_instance_types(pipeline: Pipeline, params: RunParams, stage: Stage) -> tuple[str, ...]:
    """The types that a stage may use in this run: the one from the trigger form, else those of the pipeline.

    Empty where the pipeline has no job for the stage.
    """
    limits = pipeline.get_stage_limits(stage)
    if limits is None:
        return ()
    requested = {
        "preprocess": params.preprocess_instance_type,
        "transform": params.transform_instance_type,
    }.get(stage)
    return (requested,) if requested else tuple(dict.fromkeys((limits.instance_type, *limits.instance_types)))


def list_quota_names(pipeline: Pipeline, params: RunParams) -> frozenset[str]:
    """The names of all quotas that can limit a run."""
    return frozenset(
        name
        for stage in STAGES
        for each in list_instance_types(pipeline, params, stage)
        for name in (TOTAL_QUOTA_NAMES[stage], TYPE_QUOTA_NAMES[stage].format(instance_type=each))
    )


def find_tightest_quota(quotas: Mapping[str, int], stage: Stage, instance_type: str) -> Quota | None:
    """The lower of the two quotas of a job; None when neither is known."""
    names = (TYPE_QUOTA_NAMES[stage].format(instance_type=instance_type), TOTAL_QUOTA_NAMES[stage])
    known = [Quota(name, quotas[name]) for name in names if name in quotas]
    return min(known, key=lambda quota: quota.instances, default=None)
