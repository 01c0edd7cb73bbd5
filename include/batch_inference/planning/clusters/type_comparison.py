"""Compares the instance types that a run may use: for each type of a stage, the best clusters with that type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import Stage
from batch_inference.planning.clusters.cluster_choice import ClusterDecision
from batch_inference.planning.clusters.cluster_model import ClusterPlan, Goals, StageWorkload, choose_best
from batch_inference.planning.clusters.instance_quotas import list_instance_types

#: Whether a run ends by its deadline with the confidence of its goals; maybe: as expected, but with less confidence.
InTime = Literal["yes", "maybe", "no"]


class TypeRow(FrozenModel):
    """A run whose `stage` has this type and number of instances; the other stages keep their types.

    Seconds and dollars are of the whole run; it takes at most `seconds_high` with the confidence of the goals, and
    meets its deadline with `probability`, which is None without one. `dollars` is None when a price is unknown.
    `in_time` and `in_budget` are None without a deadline or budget, `in_budget` with an unknown price too.
    """

    stage: Stage
    instance_type: str
    instance_count: int
    seconds: float
    seconds_high: float
    probability: float | None
    dollars: float | None
    in_time: InTime | None
    in_budget: bool | None
    is_chosen: bool


class TypeTable(FrozenModel):
    """The types that a run may use. `excluded` are stages and types that the account's quotas do not let it have."""

    rows: tuple[TypeRow, ...]
    excluded: tuple[tuple[Stage, str], ...] = ()


def build_type_table(decision: ClusterDecision, pipeline: Pipeline, params: RunParams) -> TypeTable:
    """The table of a decision about the clusters of a run with these params."""
    rows = compare_types(decision)
    usable = {(row.stage, row.instance_type) for row in rows}
    excluded = [
        (stage, name)
        for stage in dict.fromkeys(row.stage for row in rows)
        for name in list_instance_types(pipeline, params, stage)
        if (stage, name) not in usable
    ]
    return TypeTable(rows=tuple(rows), excluded=tuple(excluded))


def compare_types(decision: ClusterDecision) -> list[TypeRow]:
    """A row for each type that a stage may have, in the order of the stages and of the pipeline file."""
    chosen, limit = decision.cluster_plan, decision.goals.seconds_to_deadline
    rows: list[TypeRow] = []
    for position, stage in enumerate(chosen.stages):
        for option in stage.workload.options:
            is_chosen = option is stage.option
            workloads = [
                replace(each.workload, options=(option if at == position else each.option,))
                for at, each in enumerate(chosen.stages)
            ]
            plan = chosen if is_chosen else _choose_clusters(workloads, decision.goals)
            sized = plan.stages[position]
            rows.append(
                TypeRow(
                    stage=sized.name,
                    instance_type=option.instance_type,
                    instance_count=sized.instance_count,
                    seconds=plan.seconds,
                    seconds_high=plan.compute_seconds_at(decision.goals.confidence),
                    probability=None if limit is None else plan.compute_probability(limit),
                    dollars=plan.dollars,
                    in_time=_compare_with_deadline(plan, decision.goals),
                    in_budget=_compare_with_budget(plan, decision.goals.budget),
                    is_chosen=is_chosen,
                )
            )
    return rows


def _choose_clusters(workloads: Sequence[StageWorkload], goals: Goals) -> ClusterPlan:
    """The best clusters; where none meets the goals, the cheapest in time, else the fastest."""
    found = choose_best(workloads, goals) or choose_best(
        workloads, replace(goals, budget=None, prefer="cost")
    )
    found = found or choose_best(workloads, Goals(prefer="speed"))
    if found is None:
        raise ValueError("a stage has no instance that it may use")
    return found


def _compare_with_deadline(plan: ClusterPlan, goals: Goals) -> InTime | None:
    if goals.seconds_to_deadline is None:
        return None
    if goals.is_safe(plan):
        return "yes"
    return "maybe" if plan.seconds <= goals.seconds_to_deadline else "no"


def _compare_with_budget(plan: ClusterPlan, budget: float | None) -> bool | None:
    return None if budget is None or plan.dollars is None else plan.dollars <= budget
