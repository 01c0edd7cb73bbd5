"""Finds the clusters that would meet a deadline if the limits allowed them, for the message of a failed plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batch_inference.config.sections.stages import MAX_INSTANCES
from batch_inference.planning.clusters.cluster_model import (
    ClusterPlan,
    InstanceOption,
    SizedStage,
    StageWorkload,
    combine_stages,
    count_instances_needed,
    enumerate_cluster_plans,
    size_stage,
)


def find_sufficient_clusters(stages: Sequence[StageWorkload], seconds: float) -> ClusterPlan | None:
    """The cheapest clusters that meet the deadline, beyond the limits where necessary; None when none can.

    One stage gets more instances where that is enough: the transform first, since it is usually the slowest, the join
    last. Else all stages do.
    """
    order = {"transform": 0, "preprocess": 1, "join": 2}
    for position in sorted(range(len(stages)), key=lambda at: order[stages[at].name]):
        found = _widen_one(stages, position, seconds)
        if found is not None:
            return found
    unlimited = [
        replace(stage, max_instances=MAX_INSTANCES, requested_instance_count=None) for stage in stages
    ]
    in_time = (
        plan for plan in enumerate_cluster_plans(_keep_first_types(unlimited)) if plan.seconds <= seconds
    )
    return min(in_time, key=lambda plan: plan.billed_seconds, default=None)


def _widen_one(stages: Sequence[StageWorkload], position: int, seconds: float) -> ClusterPlan | None:
    found: list[ClusterPlan] = []
    for choice in enumerate_cluster_plans(_keep_first_types(stages)):
        rest = choice.seconds - choice.stages[position].seconds
        stage, option = stages[position], choice.stages[position].option
        wider = _size_within(stage, option, seconds - rest)
        if wider is not None:
            found.append(combine_stages((*choice.stages[:position], wider, *choice.stages[position + 1 :])))
    return min(found, key=lambda choice: choice.billed_seconds, default=None)


def _size_within(stage: StageWorkload, option: InstanceOption, seconds: float) -> SizedStage | None:
    """The stage on the fewest instances that finish within `seconds`, or None."""
    working_seconds = seconds - option.rate.start_seconds
    if working_seconds <= 0:
        return None
    count = count_instances_needed(stage.bytes, option, working_seconds)
    if count > min(MAX_INSTANCES, stage.max_parallelism):
        return None
    sized_stage = size_stage(stage, option, count)
    return sized_stage if sized_stage.seconds <= seconds + 1e-9 else None


def _keep_first_types(stages: Sequence[StageWorkload]) -> list[StageWorkload]:
    """The stages with their first instance type only, since the message names a number of instances."""
    return [replace(stage, options=stage.options[:1]) for stage in stages]
