"""Finds the AWS quotas that limit the instances of a job: of one type, and of all types together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import STAGES, Stage

# The kind of each stage's job, as AWS's quotas name it.
_JOB_KINDS: Mapping[Stage, str] = {"preprocess": "processing", "transform": "transform", "join": "processing"}


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
    requested = params.get_instance_type(stage)
    return (requested,) if requested else tuple(dict.fromkeys((limits.instance_type, *limits.instance_types)))


def list_run_types(pipeline: Pipeline, params: RunParams) -> tuple[str, ...]:
    """The types that any stage may use in this run."""
    every = (name for stage in STAGES for name in list_instance_types(pipeline, params, stage))
    return tuple(dict.fromkeys(every))


def list_quota_names(pipeline: Pipeline, params: RunParams) -> frozenset[str]:
    """The names of all quotas that can limit a run."""
    return frozenset(
        name
        for stage in STAGES
        for each in list_instance_types(pipeline, params, stage)
        for name in _name_quotas(stage, each)
    )


def find_tightest_quota(quotas: Mapping[str, int], stage: Stage, instance_type: str) -> Quota | None:
    """The lower of the two quotas of a job; None when neither is known."""
    known = [Quota(name, quotas[name]) for name in _name_quotas(stage, instance_type) if name in quotas]
    return min(known, key=lambda quota: quota.instances, default=None)


def has_room_for(
    quotas: Mapping[str, int], stage: Stage, instance_type: str, *, used: Mapping[str, int]
) -> bool:
    """Whether the quotas that are known allow one more instance of a type beside those that a run uses, by type."""
    of_type, of_all = _name_quotas(stage, instance_type)
    return quotas.get(of_type, math.inf) > used.get(instance_type, 0) and (
        quotas.get(of_all, math.inf) > sum(used.values())
    )


def _name_quotas(stage: Stage, instance_type: str) -> tuple[str, str]:
    """AWS's names of the quota of one instance type, and of that of all types together."""
    kind = _JOB_KINDS[stage]
    return f"{instance_type} for {kind} job usage", f"Number of instances across all {kind} jobs"
