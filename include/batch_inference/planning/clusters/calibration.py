"""Sizes the transform of a model that was never measured: by its canary, one shard that is transformed first."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from batch_inference.common.errors import PlanError
from batch_inference.common.formatting import format_count, format_dollars, format_duration, format_rate
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.cluster_choice import format_clock_time
from batch_inference.planning.clusters.cluster_model import (
    ClusterPlan,
    Goals,
    InstanceOption,
    StageWorkload,
    choose_best,
)
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.rate_model import Rate, compute_rate
from batch_inference.planning.clusters.work_division import EqualShards
from batch_inference.planning.plan import Plan
from batch_inference.planning.plan_log import PlanLog, PlanLogEntry
from batch_inference.pricing.costs import StageUsage

# With fewer shards there is nothing left to size.
MIN_SHARDS = 2
#: The plan field that a calibration replaces.
INSTANCE_COUNT_FIELD = "transform.instance_count"


class CalibrationResult(FrozenModel):
    """Number and types of the instances for the remaining shards, and the entries of the plan's log that explain them.

    The first type is the canary's, on which the rate was measured.
    """

    instance_count: int
    instance_types: tuple[str, ...]
    log: tuple[PlanLogEntry, ...] = ()


class CanaryShard(NamedTuple):
    """The shard that was transformed first: its records, and the records and shards of the run in total."""

    records: int
    total_records: int
    total_shards: int

    def estimate_bytes(self, text_bytes: int) -> int:
        """The shard's share of `text_bytes`, the bytes of the run's text."""
        return max(1, round(text_bytes * self.records / max(1, self.total_records)))


def size_remaining_transform(
    plan: Plan,
    canary: CanaryShard,
    canary_usage: StageUsage,
    *,
    spent_dollars: float | None,
    now: datetime,
) -> CalibrationResult:
    """Size the transform of the remaining shards by the rate of the canary.

    `plan` has a canary; `canary_usage` is what its job used, `spent_dollars` the cost of the run's jobs until now (None
    when unknown). Time and budget of the join job, where there is one, are kept free.

    If the deadline cannot be met any more, a sentence says so and the fastest cluster within the budget is taken, since
    what was paid for until now would else be lost. Raises PlanError when the cheapest cluster exceeds the budget and
    nobody approved that.
    """
    prices = plan.get_prices()
    rate, canary_bytes = (
        _measure_rate(plan, canary, canary_usage),
        canary.estimate_bytes(plan.input.text_bytes),
    )
    limits, join, deadline, instance_type = (
        plan.canary,
        plan.estimate.join,
        plan.deadline,
        canary_usage.instance_type,
    )
    if limits is None:
        raise ValueError("the plan has no canary")
    remaining_shards = canary.total_shards - 1
    shard_bytes = max(1, (plan.input.text_bytes - canary_bytes) // remaining_shards)
    workload = StageWorkload(
        name="transform",
        work=EqualShards(
            bytes=shard_bytes * remaining_shards,
            max_parallelism=remaining_shards,
            object_sizes=[shard_bytes] * remaining_shards,
            max_payload_mb=plan.transform.max_payload_mb,
        ),
        max_instances=limits.max_instances[instance_type],
        options=(
            InstanceOption(
                instance_type=instance_type,
                rate=rate,
                dollars_per_second=prices.get_price_per_second(instance_type),
            ),
        ),
        requested_instance_count=limits.requested_instance_count,
    )
    budget = None
    if plan.budget is not None and not plan.approval_reason:
        budget = plan.budget - (spent_dollars or 0.0) - (join.dollars or 0.0)
    seconds = None if deadline is None else (deadline - now).total_seconds() - join.provisioning_seconds
    speed, start_time = f"{format_rate(rate.bytes_per_second)}", format_duration(rate.start_seconds)
    canary_clause = (
        f"One of {format_count(canary.total_shards, 'shard')} was transformed first, on 1 × {instance_type}"
    )
    if instance_type != plan.transform.instance_type:
        canary_clause += f", as AWS had no {plan.transform.instance_type}"
    plan_log = PlanLog()
    plan_log.add(f"{canary_clause}: {speed} after {start_time} to start.")
    cluster_plan = None
    # Keep the join's time at its slow end free; where that is impossible, its expected time.
    for join_seconds in dict.fromkeys((join.seconds_high, join.seconds)):
        seconds_left = None if seconds is None else seconds - join_seconds
        cluster_plan = cluster_plan or choose_best(
            (workload,),
            Goals(
                seconds_to_deadline=seconds_left,
                budget=budget,
                prefer=limits.prefer,
                confidence=plan.estimate.confidence,
            ),
        )
    if cluster_plan is None and deadline is not None:
        cluster_plan = choose_best((workload,), Goals(budget=budget, prefer="speed"))
        if cluster_plan is not None:
            plan_log.add(
                f"By that rate the deadline of {format_clock_time(deadline, now)} cannot be kept; the run should take "
                f"another {format_duration(cluster_plan.seconds)} on the fastest cluster that its limits allow."
            )
    if cluster_plan is None:
        raise PlanError(
            _explain_over_budget(choose_best((workload,), Goals(prefer="cost")), budget, rate, join.dollars)
        )
    [stage] = cluster_plan.stages
    plan_log.record(
        INSTANCE_COUNT_FIELD,
        "plan",
        f"Transform uses {stage.instance_count} × {instance_type} for the other "
        f"{format_count(remaining_shards, 'shard')}, as that rate asks for.",
    )
    other_types = (each for each, maximum in limits.max_instances.items() if maximum >= stage.instance_count)
    return CalibrationResult(
        instance_count=stage.instance_count,
        instance_types=tuple(dict.fromkeys((instance_type, *other_types))),
        log=tuple(plan_log.entries),
    )


def apply_calibration(plan: Plan, calibration: CalibrationResult, total_instance_count: int) -> Plan:
    """The plan for a report, with the calibrated size of the transform in place of the planned one.

    `total_instance_count` is that of all of the transform's jobs together.
    """
    others = (entry for entry in plan.log if entry.field != INSTANCE_COUNT_FIELD)
    calibrated = {"instance_count": total_instance_count, "instance_type": calibration.instance_types[0]}
    transform = plan.transform.model_copy(update=calibrated)
    return plan.model_copy(update={"log": (*others, *calibration.log), "transform": transform})


def _measure_rate(plan: Plan, canary: CanaryShard, canary_usage: StageUsage) -> Rate:
    """The rate of the canary's job, computed as if it were the only run in the history."""
    # If the server logs no requests, all running time counts as work: the rate is too low, so never too few instances.
    busy = canary_usage.busy_seconds or canary_usage.running_seconds
    row = HistoryRow(
        pipeline=plan.pipeline,
        run_id=plan.run_id,
        data_time=plan.data_time.isoformat(),
        stage="transform",
        instance_type=canary_usage.instance_type,
        instance_count=canary_usage.instance_count,
        model=plan.model.key,
        bytes=canary.estimate_bytes(plan.input.text_bytes),
        records=canary.records,
        objects=1,
        provisioning_seconds=canary_usage.provisioning_seconds,
        running_seconds=canary_usage.running_seconds,
        busy_seconds=busy,
        start_seconds=canary_usage.start_seconds if canary_usage.busy_seconds else 0.0,
        predicted_seconds=None,
        dollars=None,
        max_payload_mb=plan.transform.max_payload_mb,
    )
    return compute_rate([row], stage="transform", instance_type=row.instance_type, model_key=row.model)


def _explain_over_budget(
    cheapest: ClusterPlan | None, budget: float | None, rate: Rate, join_dollars: float | None
) -> str:
    assert cheapest is not None  # noqa: S101 - without goals one instance always fits
    join_clause = f" besides the {format_dollars(join_dollars)} of the join" if join_dollars else ""
    return (
        f"the canary measured {format_rate(rate.bytes_per_second)}, by which the rest would cost at least "
        f"{format_dollars(cheapest.dollars)}; of the budget {format_dollars(max(0.0, budget or 0.0))} is "
        f"left{join_clause}. Nothing further was spent: raise the budget and clear `await_preprocess` and what follows "
        "it, or set on_over_budget: approve"
    )
