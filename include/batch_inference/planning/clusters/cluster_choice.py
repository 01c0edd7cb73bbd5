"""Chooses the clusters of a run from pipeline, run params and measured rates, or explains why no cluster will do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batch_inference.common.errors import PlanError
from batch_inference.common.formatting import format_dollars, format_duration, join_words
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.schedule import resolve_deadline
from batch_inference.config.sections.stages import MAX_INSTANCES, Stage
from batch_inference.planning.clusters.cluster_model import (
    ClusterPlan,
    Goals,
    InstanceOption,
    SizedStage,
    StageWorkload,
    choose_best,
    combine_stages,
    count_instances_needed,
    enumerate_cluster_plans,
    size_stage,
)
from batch_inference.planning.clusters.instance_quotas import Quota, find_tightest_quota, list_instance_types
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.rate_model import compute_rate
from batch_inference.planning.model_version import ModelPlan
from batch_inference.pricing.costs import Prices, load_prices, sum_if_known

#: No job of SageMaker's runs as long, and an estimate of years is no date.
MAX_FORESEEN_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningContext:
    """What the decision is based on: prices, measured runs of the pipeline, quotas by AWS's names, and model.

    `price_note` is a sentence for the plan where the prices are not those that were looked for.
    `now` is the time from which a deadline counts. With `can_request_approval` a run above its budget gives a decision
    with an `approval_reason`, and the caller has to ask a person; without it such a run fails.
    """

    model: ModelPlan
    now: datetime
    prices: Prices = field(default_factory=load_prices)
    price_note: str | None = None
    history: Sequence[HistoryRow] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    can_request_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDecision:
    """The chosen clusters and the goals they meet; above the budget, `approval_reason` says what needs approval.

    `meets_goals` is False for the nearest clusters, with which no run starts.
    """

    cluster_plan: ClusterPlan
    goals: Goals
    deadline: datetime | None
    approval_reason: str | None = None
    meets_goals: bool = True

    @property
    def seconds_high(self) -> float:
        """Seconds that the run does not exceed with the confidence of the goals."""
        return self.cluster_plan.compute_seconds_at(self.goals.confidence)

    @property
    def probability_in_time(self) -> float | None:
        """The probability that the run meets its deadline; None without one."""
        limit = self.goals.seconds_to_deadline
        return None if limit is None else self.cluster_plan.compute_probability(limit)

    def list_types_without_price(self) -> Iterator[tuple[Stage, str]]:
        """The types that were not weighed, as their prices are not known: stage and type."""
        for stage in self.cluster_plan.stages:
            for each in stage.workload.options:
                if each.dollars_per_second is None and each is not stage.option:
                    yield stage.name, each.instance_type

    def list_acceptable_types(self, stage: Stage) -> tuple[str, ...]:
        """Types that a stage of this size may run on: the chosen one, then those that quota and budget allow."""
        chosen = self.cluster_plan.get_stage(stage)
        others = [each.instance_type for each in chosen.workload.options if self._can_replace(chosen, each)]
        return tuple(dict.fromkeys((chosen.option.instance_type, *others)))

    def _can_replace(self, chosen: SizedStage, option: InstanceOption) -> bool:
        """Whether quota and budget allow as many instances of this type in place of the chosen ones."""
        if option.quota is not None and option.quota < chosen.instance_count:
            return False
        if self.goals.budget is None:
            return True
        dollars = sum_if_known(
            [self.cluster_plan.dollars, size_stage(chosen.workload, option, chosen.instance_count).dollars]
        )
        # An approval above the budget does not cover an unknown price.
        return dollars is not None and (
            self.approval_reason is not None or dollars - (chosen.dollars or 0.0) <= self.goals.budget
        )


class NoClustersError(PlanError):
    """No clusters meet the goals. `nearest` is the decision that misses them least; a copy by pickle has none."""

    def __init__(self, message: str, nearest: ClusterDecision | None = None) -> None:
        super().__init__(message)
        self.nearest = nearest


def choose_clusters(
    pipeline: Pipeline, params: RunParams, workloads: Iterable[StageWorkload], context: PlanningContext
) -> ClusterDecision:
    """Choose the preferred clusters among those that meet the goals.

    Raises NoClustersError with what would be needed when none do, PlanError when a quota or price leaves no type.
    """
    stages = tuple(_limit_workload(pipeline, params, workload, context) for workload in workloads)
    goals, deadline = _build_goals(pipeline, params, context)
    if goals.budget is not None:
        _refuse_unknown_prices(stages, goals.budget)
    cluster_plan = choose_best(stages, goals)
    if cluster_plan is None and goals.budget is not None:
        # A stage with a target time of its own may miss that rather than exceed the budget.
        stages = tuple(
            stage if stage.target_seconds is None else replace(stage, target_seconds=math.inf)
            for stage in stages
        )
        cluster_plan = choose_best(stages, goals)
    if cluster_plan is not None:
        return ClusterDecision(cluster_plan=cluster_plan, goals=goals, deadline=deadline)
    without_budget = choose_best(stages, replace(goals, budget=None, prefer="cost"))
    if without_budget is None:
        fastest = min(enumerate_cluster_plans(stages), key=lambda choice: choice.seconds)
        raise NoClustersError(
            _explain_too_late(stages, fastest, goals, deadline, context.now),
            ClusterDecision(cluster_plan=fastest, goals=goals, deadline=deadline, meets_goals=False),
        )
    over = _explain_over_budget(without_budget, goals, deadline)
    cheapest = ClusterDecision(cluster_plan=without_budget, goals=goals, deadline=deadline)
    if pipeline.goals.on_over_budget == "approve":
        if context.can_request_approval:
            return replace(cheapest, approval_reason=over)
        over += "; on_over_budget is 'approve', but nobody can approve this run"
    more_time = ", or allow more time" if _fits_budget_later(stages, goals) else ""
    raise NoClustersError(f"{over}; raise the budget{more_time}", replace(cheapest, meets_goals=False))


def _fits_budget_later(stages: Sequence[StageWorkload], goals: Goals) -> bool:
    """Whether there are clusters within the budget that are done after the deadline."""
    return choose_best(stages, replace(goals, seconds_to_deadline=None, prefer="cost")) is not None


def format_clock_time(time: datetime, now: datetime) -> str:
    """A time of day in UTC, with its date when that is not today's."""
    return f"{time:%H:%M} UTC" if time.date() == now.date() else f"{time:%H:%M} UTC on {time:%Y-%m-%d}"


def format_end(seconds: float, now: datetime) -> str:
    """The time of day so many seconds from now; of a wild estimate only that it is far away."""
    if seconds > MAX_FORESEEN_DAYS * 86_400:
        return f"a time more than {MAX_FORESEEN_DAYS} days away"
    return format_clock_time(now + timedelta(seconds=seconds), now)


def _limit_workload(
    pipeline: Pipeline, params: RunParams, workload: StageWorkload, context: PlanningContext
) -> StageWorkload:
    """The workload with the instances that the pipeline, the params and the account's quotas allow."""
    stage = workload.name
    limits = pipeline.get_stage_limits(stage)
    if limits is None:
        raise LookupError(f"the pipeline {pipeline.name} has no job to {stage}")
    requested_count = params.get_instance_count(stage)
    usable: list[InstanceOption] = []
    low_quotas: list[Quota] = []
    for name in list_instance_types(pipeline, params, stage):
        quota = find_tightest_quota(context.quotas, stage, name)
        if quota is not None and quota.instances < (requested_count or 1):
            low_quotas.append(quota)
            continue
        rate = compute_rate(context.history, stage=stage, instance_type=name, model_key=context.model.key)
        seconds_to_start = rate.provisioning_seconds + workload.preparation_seconds
        option = InstanceOption(
            instance_type=name,
            rate=replace(rate, provisioning_seconds=seconds_to_start),
            dollars_per_second=context.prices.get_price_per_second(name),
            quota=quota and quota.instances,
        )
        usable.append(option)
    if not usable:
        largest_quota = max(low_quotas, key=lambda quota: quota.instances)
        raise PlanError(
            f"the account's quota {largest_quota.name!r} is {largest_quota.instances}, and {stage} needs "
            f"{requested_count or 1}; ask AWS for more in Service Quotas, or name another instance type"
        )
    return replace(
        workload,
        max_instances=min(limits.max_instances, params.max_instances or limits.max_instances),
        options=tuple(usable),
        requested_instance_count=requested_count,
    )


def _build_goals(
    pipeline: Pipeline, params: RunParams, context: PlanningContext
) -> tuple[Goals, datetime | None]:
    deadline_text = params.deadline if params.deadline is not None else pipeline.goals.deadline
    deadline = None if deadline_text is None else resolve_deadline(deadline_text, context.now)
    goals = Goals(
        seconds_to_deadline=None if deadline is None else (deadline - context.now).total_seconds(),
        budget=params.budget if params.budget is not None else pipeline.goals.budget,
        prefer=params.prefer or pipeline.goals.prefer,
        confidence=pipeline.goals.confidence,
    )
    return goals, deadline


def _refuse_unknown_prices(stages: Sequence[StageWorkload], budget: float) -> None:
    for stage in stages:
        if all(option.dollars_per_second is None for option in stage.options):
            name = stage.options[0].instance_type
            raise PlanError(
                f"the budget of {format_dollars(budget)} cannot be kept, because the price of {name} is unknown; "
                "state it under prices in the pipeline, in dollars per hour, or drop the budget"
            )


def _explain_over_budget(cheapest: ClusterPlan, goals: Goals, deadline: datetime | None) -> str:
    deadline_clause = "" if deadline is None else f" that are done by {deadline:%H:%M} UTC"
    return (
        f"the budget is {format_dollars(goals.budget)}, but the cheapest clusters{deadline_clause} cost about "
        f"{format_dollars(cheapest.dollars)}: {describe_clusters(cheapest)}"
    )


def describe_clusters(cluster_plan: ClusterPlan) -> str:
    """`2 × ml.m5.xlarge to preprocess and 8 × ml.m5.xlarge to transform`."""
    stages = cluster_plan.stages
    return join_words(
        [f"{each.instance_count} × {each.option.instance_type} to {each.name}" for each in stages]
    )


def _explain_limit(stage: StageWorkload) -> str:
    """What keeps a stage from more instances."""
    if stage.requested_instance_count:
        return f"{stage.name}_instance_count was set to {stage.requested_instance_count}"
    quotas = [stage.max_instances if option.quota is None else option.quota for option in stage.options]
    if max(quotas) < stage.max_instances:
        return f"the account's quota lets {stage.name} have {max(quotas)}"
    return f"{stage.name}.max_instances is {stage.max_instances}"


def _explain_too_late(
    stages: Sequence[StageWorkload],
    earliest: ClusterPlan,
    goals: Goals,
    deadline: datetime | None,
    now: datetime,
) -> str:
    assert deadline is not None  # noqa: S101 - without a deadline every choice is in time
    assert goals.seconds_to_deadline is not None  # noqa: S101 - as above
    earliest_end = format_end(earliest.seconds, now)
    limits = join_words([_explain_limit(stage) for stage in stages])
    sufficient = find_sufficient_clusters(stages, goals.seconds_to_deadline)
    deadline_text = format_clock_time(deadline, now)
    if sufficient is None:
        overhead_seconds = earliest.seconds - sum(each.working_seconds for each in earliest.stages)
        return (
            f"the run cannot be done by {deadline_text} with any number of instances: provisioning, start-up and "
            f"Airflow's own tasks take {format_duration(overhead_seconds)} of the "
            f"{format_duration(goals.seconds_to_deadline)} left, and the rest cannot be divided further; earliest "
            f"end {earliest_end} with {describe_clusters(earliest)}"
        )
    return f"needs {describe_clusters(sufficient)} to be done by {deadline_text}; {limits}; earliest end {earliest_end}"


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
    count = count_instances_needed(stage, option, working_seconds)
    if count > min(MAX_INSTANCES, stage.work.max_parallelism):
        return None
    sized_stage = size_stage(stage, option, count)
    return sized_stage if sized_stage.seconds <= seconds + 1e-9 else None


def _keep_first_types(stages: Sequence[StageWorkload]) -> list[StageWorkload]:
    """The stages with their first instance type only, since the message names a number of instances."""
    return [replace(stage, options=stage.options[:1]) for stage in stages]
