"""Models time and cost of clusters, and chooses the one that meets the goals of a run, by one formula.

    wall(n) = start + work of the fullest instance        cost(n) = n × wall(n) × price

More instances never cost less; they buy time. So a run that prefers cost takes the fewest that meet its deadline, and
one that prefers speed the most that its budget and its limits allow.

Times vary from night to night, by the spreads of the rates: the logarithms of what jobs take are distributed by
Student's t. A deadline is met if it holds with the confidence of the goals, in the worst assignment of objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import le
from typing import Literal, NamedTuple

from batch_inference.config.sections.stages import Stage
from batch_inference.planning.clusters.rate_model import Rate
from batch_inference.planning.clusters.spread import compute_probability, compute_quantile
from batch_inference.planning.clusters.work_division import WorkDivision

# Airflow's own tasks around the jobs: planning, joining, publishing, and the waits between them.
AIRFLOW_OVERHEAD_SECONDS = 60.0
DEFAULT_CONFIDENCE = 0.95

Preference = Literal["cost", "speed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOption:
    """One instance type for one stage.

    `dollars_per_second` is None when the price is unknown, `quota` None when the account's is.
    """

    instance_type: str
    rate: Rate
    dollars_per_second: float | None
    quota: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWorkload:
    """The work of a stage, and its limits, which `choose_clusters` sets.

    `requested_instance_count` is the number from the trigger form. With `has_lists` each instance is a job of its own
    that reads a list of objects, and is billed for its own time. `preparation_seconds` are spent on laying the input
    out before the job starts, and are not billed.

    With `target_seconds` not every count is weighed: the fewest instances that finish in that time, where the limits
    allow, then twice as many each time.
    """

    name: Stage
    work: WorkDivision
    has_lists: bool = False
    max_instances: int = 0
    options: tuple[InstanceOption, ...] = ()
    requested_instance_count: int | None = None
    preparation_seconds: float = 0.0
    target_seconds: float | None = None

    def get_instance_limit(self, option: InstanceOption) -> int:
        """The most instances of this type that pipeline and account allow."""
        return self.max_instances if option.quota is None else min(self.max_instances, option.quota)

    def list_instance_counts(self, option: InstanceOption) -> Sequence[int]:
        """The counts to choose from of instances of this type, in ascending order."""
        limit = min(self.get_instance_limit(option), self.work.max_parallelism)
        if self.requested_instance_count is not None:
            return [min(self.requested_instance_count, limit)]
        if self.target_seconds is None:
            return range(1, limit + 1)
        least = min(limit, count_instances_needed(self, option, self.target_seconds))
        return sorted({*(least << times for times in range((limit // least).bit_length())), limit})


def count_instances_needed(workload: StageWorkload, option: InstanceOption, working_seconds: float) -> int:
    """The fewest instances that do the work in `working_seconds`, start-up excluded, if it is even; at least 1."""
    total = workload.work.share_work(1, option.rate).mean
    return max(1, math.ceil(total / working_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedStage:
    """A workload on `instance_count` instances of a type.

    `seconds` of running are expected, `worst_seconds` those of the worst assignment of objects. `running_deviation` is
    the standard deviation of running, `deviation` that of provisioning and running. `billed_share` is the part of the
    instance-seconds that is billed: 1, unless instances are jobs of their own.
    """

    workload: StageWorkload
    option: InstanceOption
    instance_count: int
    seconds: float
    worst_seconds: float
    running_deviation: float
    deviation: float
    billed_share: float = 1.0

    @property
    def name(self) -> Stage:
        """The stage."""
        return self.workload.name

    @property
    def working_seconds(self) -> float:
        """Expected seconds without start-up."""
        return self.seconds - self.option.rate.start_seconds

    @property
    def billed_seconds(self) -> float:
        """Instance-seconds."""
        return self.instance_count * self.seconds * self.billed_share

    @property
    def dollars(self) -> float | None:
        """Expected dollars, or None when the price is unknown."""
        return self.compute_dollars(self.seconds)

    def compute_dollars(self, seconds: float) -> float | None:
        """Dollars if it runs for `seconds`, or None when the price is unknown."""
        price = self.option.dollars_per_second
        return None if price is None else self.instance_count * seconds * self.billed_share * price

    def compute_seconds_at(self, confidence: float) -> float:
        """Seconds of running that are not exceeded with this probability; below 0.5 in the expected assignment."""
        seconds = self.worst_seconds if confidence >= 0.5 else self.seconds
        return stretch(seconds, self.running_deviation, confidence)


def stretch(seconds: float, deviation: float, confidence: float) -> float:
    """The quantile of seconds whose logarithm has this deviation, as a number of seconds."""
    if not seconds:
        return 0.0
    quantile = compute_quantile(confidence) if confidence >= 0.5 else -compute_quantile(1 - confidence)
    return seconds * math.exp(quantile * deviation / seconds)


class ClusterPlan(NamedTuple):
    """All stages of a run. Seconds are from the start of the run to its end, provisioning and Airflow included.

    `job_seconds` are those of the jobs in the worst assignments of objects, and `deviation` their standard deviation;
    `billed_seconds` are instance-seconds; `dollars` is None when a price is unknown. A tuple, since a large limit gives
    ten thousand of them.
    """

    stages: tuple[SizedStage, ...]
    seconds: float
    job_seconds: float
    deviation: float
    billed_seconds: float
    dollars: float | None

    def get_stage(self, name: Stage) -> SizedStage:
        """One of the stages. Raises LookupError when the run has no such job."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise LookupError(f"this run has no job to {name}")

    @property
    def is_measured(self) -> bool:
        """Whether runs of all types were measured."""
        return all(stage.option.rate.runs for stage in self.stages)

    def compute_seconds_at(self, confidence: float) -> float:
        """Seconds that the run does not exceed with this probability; below 0.5 in the expected assignments."""
        seconds = self.job_seconds if confidence >= 0.5 else self.seconds - AIRFLOW_OVERHEAD_SECONDS
        return AIRFLOW_OVERHEAD_SECONDS + stretch(seconds, self.deviation, confidence)

    def compute_probability(self, seconds: float) -> float:
        """The probability that the run takes at most so many seconds."""
        left = seconds - AIRFLOW_OVERHEAD_SECONDS
        if left <= 0:
            return 0.0
        return compute_probability(math.log(left / self.job_seconds) * self.job_seconds / self.deviation)


def combine_stages(stages: tuple[SizedStage, ...]) -> ClusterPlan:
    """Time and cost of the stages one after another.

    What was measured deviates independently. What was assumed may be wrong in all stages alike.
    """
    seconds, worst = AIRFLOW_OVERHEAD_SECONDS, 0.0
    assumed = measured = billed = 0.0
    dollars: float | None = 0.0
    for stage in stages:
        rate = stage.option.rate
        seconds += stage.seconds + rate.provisioning_seconds
        worst += stage.worst_seconds + rate.provisioning_seconds
        if rate.runs:
            measured += stage.deviation * stage.deviation
        else:
            assumed += stage.deviation
        instance_seconds = stage.instance_count * stage.seconds * stage.billed_share
        billed += instance_seconds
        price = stage.option.dollars_per_second
        dollars = None if dollars is None or price is None else dollars + instance_seconds * price
    return ClusterPlan(stages, seconds, worst, math.sqrt(measured + assumed * assumed), billed, dollars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What a run asks of its clusters: a deadline counts as met if it is with this confidence."""

    seconds_to_deadline: float | None = None
    budget: float | None = None
    prefer: Preference = "cost"
    confidence: float = DEFAULT_CONFIDENCE

    def is_safe(self, choice: ClusterPlan) -> bool:
        """Whether clusters meet the deadline with the confidence."""
        return (
            self.seconds_to_deadline is None
            or choice.compute_seconds_at(self.confidence) <= self.seconds_to_deadline
        )

    def weigh_lateness(self, choice: ClusterPlan) -> float:
        """The factor on the cost of clusters: the probability of being late, as far as it matters."""
        if self.seconds_to_deadline is None:
            return 1.0
        return 1 - min(self.confidence, choice.compute_probability(self.seconds_to_deadline))


def size_stage(workload: StageWorkload, option: InstanceOption, instance_count: int) -> SizedStage:
    """Apply the formula to `instance_count` instances.

    With lists each instance is a job that is billed for its own time, and the stage ends with the fullest list.
    """
    rate, work = option.rate, workload.work
    shares = work.share_work(instance_count, rate)
    seconds = rate.start_seconds + shares.expected
    spread = rate.compute_spread(work.bytes, work.count_requests(instance_count, rate))
    # Start-up and provisioning vary from night to night, whatever the work takes.
    running_deviation = math.hypot(rate.start_seconds * rate.start_spread, shares.worst * spread)
    return SizedStage(
        workload=workload,
        option=option,
        instance_count=instance_count,
        seconds=seconds,
        worst_seconds=rate.start_seconds + shares.worst,
        running_deviation=running_deviation,
        deviation=math.hypot(running_deviation, rate.provisioning_seconds * rate.start_spread),
        billed_share=(rate.start_seconds + shares.mean) / seconds if workload.has_lists else 1.0,
    )


def enumerate_cluster_plans(stages: Sequence[StageWorkload]) -> Iterator[ClusterPlan]:
    """Every combination of type and count within the limits that may be the best of them.

    Of types without a price only the first, where there are no others.
    """
    per_stage = [
        [
            size_stage(stage, option, count)
            for option in _list_weighed(stage.options)
            for count in stage.list_instance_counts(option)
        ]
        for stage in stages
    ]
    priced = all(each.dollars is not None for candidates in per_stage for each in candidates)
    return map(combine_stages, product(*(_drop_dominated(candidates, priced) for candidates in per_stage)))


def _drop_dominated(candidates: Sequence[SizedStage], priced: bool) -> list[SizedStage]:
    """Drop candidates that take as long as another, or longer, and cost no less: with several types that is most.

    Three stages of some hundred candidates each would else be millions of combinations.
    """
    keys = [_comparison_key(each, priced) for each in candidates]
    kept: list[int] = []
    # In this order whatever is as good as a candidate in every respect comes before it.
    for at in sorted(range(len(keys)), key=keys.__getitem__):
        if not any(all(map(le, keys[better], keys[at])) for better in kept):
            kept.append(at)
    return [candidates[at] for at in sorted(kept)]


def _comparison_key(stage: SizedStage, priced: bool) -> tuple[float, ...]:
    """The figures by which candidates are compared, less is better: seconds, worst and deviation, and cost."""
    provisioning, dollars = stage.option.rate.provisioning_seconds, stage.dollars
    return (
        stage.seconds + provisioning,
        stage.worst_seconds + provisioning,
        stage.deviation,
        dollars if priced and dollars is not None else stage.billed_seconds,
    )


def choose_best(stages: Sequence[StageWorkload], goals: Goals) -> ClusterPlan | None:
    """The preferred cluster plan among those that meet the goals, or None when none does.

    A deadline should hold with the confidence of the goals, if possible on types that were measured. Where no cluster
    gives that, those count that meet it as expected: the fastest if speed is preferred, else the one whose dollars
    times the probability of being late are least: one that is late half as often may cost twice as much. The same
    applies where rates are assumed, since a probability that follows from them is worth no more.
    """
    limit = math.inf if goals.seconds_to_deadline is None else goals.seconds_to_deadline
    measured = [replace(stage, options=_keep_measured(_keep_priced(stage.options))) for stage in stages]
    if limit < math.inf and measured != list(stages):
        found = _choose_safe(measured, goals)
        if found is not None:
            chosen = zip(found.stages, stages, strict=True)
            return combine_stages(tuple(replace(each, workload=stage) for each, stage in chosen))
    found = _choose_safe(stages, goals)
    if limit == math.inf or (found is not None and (found.is_measured or goals.prefer == "speed")):
        return found

    def rank(choice: ClusterPlan) -> tuple[float, float]:
        if goals.prefer == "speed":
            return choice.compute_seconds_at(goals.confidence), _cost(choice)
        return goals.weigh_lateness(choice) * _cost(choice), choice.seconds

    return min(
        (each for each in _list_affordable(stages, goals) if each.seconds <= limit), key=rank, default=None
    )


def _choose_safe(stages: Sequence[StageWorkload], goals: Goals) -> ClusterPlan | None:
    """The preferred one of the cluster plans that meet the deadline with the confidence of the goals."""

    def rank(choice: ClusterPlan) -> tuple[float, float]:
        seconds, cost = choice.seconds, _cost(choice)
        return (seconds, cost) if goals.prefer == "speed" else (cost, seconds)

    return min(filter(goals.is_safe, _list_affordable(stages, goals)), key=rank, default=None)


def _list_affordable(stages: Sequence[StageWorkload], goals: Goals) -> Iterator[ClusterPlan]:
    budget = math.inf if goals.budget is None else goals.budget
    plans = enumerate_cluster_plans(stages)
    return (choice for choice in plans if choice.dollars is None or choice.dollars <= budget)


def _keep_measured(options: tuple[InstanceOption, ...]) -> tuple[InstanceOption, ...]:
    """The types with runs, where there are some."""
    return tuple(option for option in options if option.rate.runs) or options


def _keep_priced(options: tuple[InstanceOption, ...]) -> tuple[InstanceOption, ...]:
    """The types with a price, where there are some."""
    return tuple(option for option in options if option.dollars_per_second is not None) or options


def _list_weighed(options: tuple[InstanceOption, ...]) -> tuple[InstanceOption, ...]:
    priced = _keep_priced(options)
    return priced if priced[0].dollars_per_second is not None else priced[:1]


def _cost(choice: ClusterPlan) -> float:
    """Dollars, else instance-seconds: within one run prices are known for all cluster plans or for none."""
    return choice.billed_seconds if choice.dollars is None else choice.dollars
