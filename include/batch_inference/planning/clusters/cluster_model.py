"""Models time and cost of clusters, and chooses the one that meets the goals of a run, by one formula.

    wall(n) = start + largest share of the work / rate        cost(n) = n × wall(n) × price

More instances never cost less; they buy time. So a run that prefers cost takes the fewest that meet its deadline, and
one that prefers speed the most that its budget and its limits allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import le
from typing import Literal, NamedTuple

from batch_inference.config.sections.stages import Stage
from batch_inference.planning.clusters.rate_history import Rate
from batch_inference.planning.clusters.sizing import choose_shards_per_instance, estimate_hash_skew

# One request to S3 and one to the model for each object, however small it is.
SECONDS_PER_OBJECT = 0.05
# Airflow's own tasks around the jobs: planning, joining, publishing, and the waits between them.
AIRFLOW_OVERHEAD_SECONDS = 60.0

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


def count_instances_needed(work_bytes: float, option: InstanceOption, working_seconds: float) -> int:
    """The fewest instances that process `work_bytes` in `working_seconds`, start-up excluded; at least 1."""
    return max(1, math.ceil(work_bytes / (option.rate.bytes_per_second * working_seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWorkload:
    """The work of a stage, and its limits, which `choose_clusters` sets.

    `max_parallelism` is how many instances can have work at all: one per object or shard. `largest_object_bytes` cannot
    be divided among instances. `requested_instance_count` is the number from the trigger form.

    AWS does not document how objects are assigned to instances, so the slow end assumes a hash. `has_equal_shards` says
    that all objects are of the same size; else `sum_squared_bytes` is the sum of their squared sizes. `skew_weight`
    moves the expected time from an even load (0) to that of a hash (1).

    `object_count` counts existing objects, each of which costs a round trip. With `largest_list_bytes` each instance is
    a job of its own that reads a list of objects: the bytes in the fullest list for 1, 2, … instances.

    `preparation_seconds` are spent on laying the input out before the job starts, and are not billed.

    With `target_seconds` not every count is weighed: the fewest instances that finish in that time, where the limits
    allow, then twice as many each time.
    """

    name: Stage
    bytes: int
    max_parallelism: int
    max_instances: int = 0
    options: tuple[InstanceOption, ...] = ()
    requested_instance_count: int | None = None
    largest_object_bytes: int = 0
    has_equal_shards: bool = False
    sum_squared_bytes: float = 0.0
    skew_weight: float = 0.0
    object_count: int = 0
    largest_list_bytes: tuple[int, ...] = ()
    preparation_seconds: float = 0.0
    target_seconds: float | None = None

    def get_instance_limit(self, option: InstanceOption) -> int:
        """The most instances of this type that pipeline and account allow."""
        return self.max_instances if option.quota is None else min(self.max_instances, option.quota)

    def list_instance_counts(self, option: InstanceOption) -> Sequence[int]:
        """The counts to choose from of instances of this type, in ascending order."""
        limit = min(self.get_instance_limit(option), self.max_parallelism)
        if self.requested_instance_count is not None:
            return [min(self.requested_instance_count, limit)]
        if self.target_seconds is None:
            return range(1, limit + 1)
        least = min(limit, count_instances_needed(self.bytes, option, self.target_seconds))
        return sorted({*(least << times for times in range((limit // least).bit_length())), limit})


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedStage:
    """A workload on `instance_count` instances of a type: the expected running time, and that at the rate's margins.

    `billed_share` is the part of the instance-seconds that is billed: 1, unless instances are jobs of their own.
    """

    workload: StageWorkload
    option: InstanceOption
    instance_count: int
    seconds: float
    seconds_high: float
    seconds_low: float
    billed_share: float = 1.0

    @property
    def name(self) -> Stage:
        """The stage."""
        return self.workload.name

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


class ClusterPlan(NamedTuple):
    """All stages of a run. Seconds are from the start of the run to its end, provisioning and Airflow included.

    `seconds_high` and `seconds_low` are the ends of the rates' margins; `billed_seconds` are instance-seconds;
    `dollars` is None when a price is unknown. A tuple, since a large limit gives ten thousand of them.
    """

    stages: tuple[SizedStage, ...]
    seconds: float
    seconds_high: float
    seconds_low: float
    billed_seconds: float
    dollars: float | None

    def get_stage(self, name: Stage) -> SizedStage:
        """One of the stages. Raises LookupError when the run has no such job."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise LookupError(f"this run has no job to {name}")


def combine_stages(stages: tuple[SizedStage, ...]) -> ClusterPlan:
    """Time and cost of the stages one after another."""
    seconds = slowest = fastest = AIRFLOW_OVERHEAD_SECONDS
    billed = 0.0
    dollars: float | None = 0.0
    for stage in stages:
        rate = stage.option.rate
        seconds += stage.seconds + rate.provisioning_seconds
        slowest += stage.seconds_high + rate.provisioning_seconds * (1 + rate.margin)
        fastest += stage.seconds_low + rate.provisioning_seconds * (1 - rate.margin)
        instance_seconds = stage.instance_count * stage.seconds * stage.billed_share
        billed += instance_seconds
        price = stage.option.dollars_per_second
        dollars = None if dollars is None or price is None else dollars + instance_seconds * price
    return ClusterPlan(stages, seconds, slowest, fastest, billed, dollars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What a run asks of its clusters."""

    seconds_to_deadline: float | None = None
    budget: float | None = None
    prefer: Preference = "cost"


def size_stage(workload: StageWorkload, option: InstanceOption, instance_count: int) -> SizedStage:
    """Apply the formula to `instance_count` instances, each with an equal share or with the largest object.

    With lists each instance is a job that is billed for its own time, and the stage ends with the fullest list.
    """
    rate = option.rate
    request_seconds = workload.object_count * SECONDS_PER_OBJECT / instance_count
    billed_share = 1.0
    if workload.largest_list_bytes:
        fullest = workload.largest_list_bytes[instance_count - 1]
        share = slow_share = fullest / rate.bytes_per_second + request_seconds
        mean = workload.bytes / instance_count / rate.bytes_per_second + request_seconds
        billed_share = (rate.start_seconds + mean) / (rate.start_seconds + share)
    else:
        even = max(workload.bytes / instance_count, workload.largest_object_bytes) / rate.bytes_per_second
        slow_share = (
            max(_estimate_largest_share(workload, instance_count, even), workload.largest_object_bytes)
            / rate.bytes_per_second
            + request_seconds
        )
        share = even + request_seconds + workload.skew_weight * (slow_share - even - request_seconds)
    return SizedStage(
        workload=workload,
        option=option,
        instance_count=instance_count,
        seconds=rate.start_seconds + share,
        seconds_high=rate.start_seconds * (1 + rate.margin) + slow_share / (1 - rate.margin),
        seconds_low=rate.start_seconds * (1 - rate.margin) + share / (1 + rate.margin),
        billed_share=billed_share,
    )


def _estimate_largest_share(workload: StageWorkload, instance_count: int, working_seconds: float) -> float:
    """Bytes that the instance with the largest share is expected to get if objects are hashed to instances."""
    even = workload.bytes / instance_count
    if workload.has_equal_shards:
        return even * estimate_hash_skew(
            min(instance_count * choose_shards_per_instance(working_seconds), workload.max_parallelism),
            instance_count,
        )
    # Gaussian estimate of the maximum of `instance_count` sums of randomly assigned sizes, each of variance
    # sum_squared_bytes / instance_count.
    return min(
        even + math.sqrt(2 * math.log(instance_count) * workload.sum_squared_bytes / instance_count),
        float(workload.bytes),
    )


def enumerate_cluster_plans(stages: Sequence[StageWorkload]) -> Iterator[ClusterPlan]:
    """Every combination of type and count within the limits that may be the best of them.

    Types without a price only where there are no others.
    """
    per_stage = [
        [
            size_stage(stage, option, count)
            for option in _keep_priced(stage.options)
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
    """The figures by which candidates are compared, less is better: seconds, seconds at the slow end, and cost."""
    rate, dollars = stage.option.rate, stage.dollars
    return (
        stage.seconds + rate.provisioning_seconds,
        stage.seconds_high + rate.provisioning_seconds * (1 + rate.margin),
        dollars if priced and dollars is not None else stage.billed_seconds,
    )


def choose_best(stages: Sequence[StageWorkload], goals: Goals) -> ClusterPlan | None:
    """The preferred cluster plan among those that meet the goals, or None when none does.

    A deadline should hold at the slow end of the rates' margins. Where no cluster gives that, one that meets it at the
    expected rate is taken, and of those the fastest.
    """
    limit = math.inf if goals.seconds_to_deadline is None else goals.seconds_to_deadline
    budget = math.inf if goals.budget is None else goals.budget

    def list_affordable() -> Iterator[ClusterPlan]:
        plans = enumerate_cluster_plans(stages)
        return (choice for choice in plans if choice.dollars is None or choice.dollars <= budget)

    def rank(choice: ClusterPlan) -> tuple[float, float]:
        seconds, cost = choice.seconds, _cost(choice)
        return (seconds, cost) if goals.prefer == "speed" else (cost, seconds)

    safe = (choice for choice in list_affordable() if choice.seconds_high <= limit)
    found = min(safe, key=rank, default=None)
    if found is not None or goals.seconds_to_deadline is None:
        return found
    in_time = (choice for choice in list_affordable() if choice.seconds <= limit)
    return min(in_time, key=lambda choice: (choice.seconds_high, _cost(choice)), default=None)


def _keep_priced(options: Sequence[InstanceOption]) -> Sequence[InstanceOption]:
    priced = [option for option in options if option.dollars_per_second is not None]
    return priced or options[:1]


def _cost(choice: ClusterPlan) -> float:
    """Dollars, else instance-seconds: within one run prices are known for all cluster plans or for none."""
    return choice.billed_seconds if choice.dollars is None else choice.dollars
