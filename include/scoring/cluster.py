"""The smallest cluster that meets the goals of a run, by one formula.

    wall(n) = start + largest share of the work / rate        cost(n) = n × wall(n) × price

More instances never cost less; they buy time. So a run that prefers cost takes the fewest that meet its deadline, and
one that prefers speed the most that its budget and its limits allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import le
from typing import Literal, NamedTuple

from include.scoring.history import Rate, Stage
from include.scoring.sizing import hashed_excess, shards_per_instance

# A request to S3 and one to the model that are paid for each object, however small it is.
SECONDS_PER_OBJECT = 0.05
# Airflow's own tasks around the two jobs: planning, joining, publishing, and the waits between.
OTHER_SECONDS = 60.0

Prefer = Literal["cost", "speed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One instance type for one stage.

    `dollars_per_second` is None when the price is unknown, `quota` None when the account's is.
    """

    instance_type: str
    rate: Rate
    dollars_per_second: float | None
    quota: int | None = None


def instances_for(work: float, option: Option, seconds: float) -> int:
    """The fewest instances that work through so many bytes in so many seconds, start-up aside; at least 1."""
    return max(1, math.ceil(work / (option.rate.bytes_per_second * seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWork:
    """What a stage has to do, and within which limits.

    `units` is how many instances can have work at all: objects, or shards. `largest` is the part in bytes that cannot
    be divided among instances. `fixed` is a count that a person typed.

    How objects come to instances is not documented, so the slow end allows for a hash: `hashed` says that the units are
    equal shards, `squares` is the sum of the squared sizes of objects that are not. `doubt` says how far the
    expectation itself goes towards that end: 0 for an even load, 1 for a hash.

    `objects` are as many round trips as there are objects that lie there already. With `lists` each instance is a job
    of its own with a list of objects that is ours: the bytes in the fullest list for 1, 2, … instances.

    `within` is for a stage that is not worth weighing every count: no fewer than do the work in so many seconds, where
    the limits allow, and from there twice as many each time.
    """

    name: Stage
    bytes: int
    units: int
    max_instances: int
    options: tuple[Option, ...]
    largest: int = 0
    fixed: int | None = None
    hashed: bool = False
    squares: float = 0.0
    doubt: float = 0.0
    objects: int = 0
    lists: tuple[int, ...] = ()
    within: float | None = None

    def most(self, option: Option) -> int:
        """The most instances of this type that pipeline and account allow."""
        return self.max_instances if option.quota is None else min(self.max_instances, option.quota)

    def counts(self, option: Option) -> Sequence[int]:
        """The counts to choose from of instances of this type, in ascending order."""
        most = min(self.most(option), self.units)
        if self.fixed is not None:
            return [min(self.fixed, most)]
        if self.within is None:
            return range(1, most + 1)
        least = min(most, instances_for(self.bytes, option, self.within))
        return sorted({*(least << times for times in range((most // least).bit_length())), most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A stage on so many instances of a type: expected seconds that it runs, at the rate and at its margin.

    `even` is how many of the instance-seconds are billed: all, unless instances are jobs that end on their own.
    """

    option: Option
    count: int
    seconds: float
    slowest: float
    fastest: float
    even: float = 1.0

    @property
    def billed_seconds(self) -> float:
        """Instance-seconds."""
        return self.count * self.seconds * self.even

    @property
    def dollars(self) -> float | None:
        """Expected dollars, or None when the price is unknown."""
        price = self.option.dollars_per_second
        return None if price is None else self.billed_seconds * price


class Choice(NamedTuple):
    """All stages of a run. Seconds are from the start of the run to its end, provisioning and Airflow included.

    `slowest` and `fastest` are the ends of the rates' margins; `billed_seconds` are instance-seconds; `dollars` is None
    when a price is unknown. A tuple, since a large limit makes ten thousand of them.
    """

    stages: tuple[Sized, ...]
    seconds: float
    slowest: float
    fastest: float
    billed_seconds: float
    dollars: float | None


def combined(stages: tuple[Sized, ...]) -> Choice:
    """The stages one after another."""
    seconds = slowest = fastest = OTHER_SECONDS
    billed = 0.0
    dollars: float | None = 0.0
    for stage in stages:
        rate = stage.option.rate
        seconds += stage.seconds + rate.provisioning_seconds
        slowest += stage.slowest + rate.provisioning_seconds * (1 + rate.margin)
        fastest += stage.fastest + rate.provisioning_seconds * (1 - rate.margin)
        instance_seconds = stage.count * stage.seconds * stage.even
        billed += instance_seconds
        price = stage.option.dollars_per_second
        dollars = None if dollars is None or price is None else dollars + instance_seconds * price
    return Choice(stages, seconds, slowest, fastest, billed, dollars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What a run asks of its clusters; `seconds` is the time to its deadline."""

    seconds: float | None = None
    budget: float | None = None
    prefer: Prefer = "cost"


def sized(work: StageWork, option: Option, count: int) -> Sized:
    """What the formula gives for `count` instances, each with an equal share, or the part that cannot be divided."""
    rate = option.rate
    trips = work.objects * SECONDS_PER_OBJECT / count
    if work.lists:
        return _sized_by_lists(work, option, count, trips)
    even = max(work.bytes / count, work.largest) / rate.bytes_per_second
    slow_share = max(_hashed_bytes(work, count, even), work.largest) / rate.bytes_per_second + trips
    share = even + trips + work.doubt * (slow_share - even - trips)
    return Sized(
        option=option,
        count=count,
        seconds=rate.start_seconds + share,
        slowest=rate.start_seconds * (1 + rate.margin) + slow_share / (1 - rate.margin),
        fastest=rate.start_seconds * (1 - rate.margin) + share / (1 + rate.margin),
    )


def _sized_by_lists(work: StageWork, option: Option, count: int, trips: float) -> Sized:
    """Each list is a job of its own: the stage ends with the fullest, and each is billed for its own time."""
    rate = option.rate
    share = work.lists[count - 1] / rate.bytes_per_second + trips
    mean = work.bytes / count / rate.bytes_per_second + trips
    return Sized(
        option=option,
        count=count,
        seconds=rate.start_seconds + share,
        slowest=rate.start_seconds * (1 + rate.margin) + share / (1 - rate.margin),
        fastest=rate.start_seconds * (1 - rate.margin) + share / (1 + rate.margin),
        even=(rate.start_seconds + mean) / (rate.start_seconds + share),
    )


def _hashed_bytes(work: StageWork, count: int, share: float) -> float:
    """Bytes that the fullest instance is expected to get, where objects are hashed to instances."""
    even = work.bytes / count
    if work.hashed:
        return even * hashed_excess(min(count * shards_per_instance(share), work.units), count)
    # The maximum of `count` sums of randomly assigned sizes, each of variance squares / count, as a Gaussian estimate.
    return min(even + math.sqrt(2 * math.log(count) * work.squares / count), float(work.bytes))


def choices(stages: Sequence[StageWork]) -> Iterator[Choice]:
    """Every combination of type and count within the limits that may be the best of them.

    Types without a price only where there are no others.
    """
    per_stage = [
        [
            sized(stage, option, count)
            for option in _comparable(stage.options)
            for count in stage.counts(option)
        ]
        for stage in stages
    ]
    priced = all(each.dollars is not None for candidates in per_stage for each in candidates)
    return map(combined, product(*(_worth_combining(candidates, priced) for candidates in per_stage)))


def _worth_combining(candidates: Sequence[Sized], priced: bool) -> list[Sized]:
    """Without those that take as long as another, or longer, and cost no less: of several types that is most of them.

    Three stages of some hundred candidates each would else be millions of combinations.
    """
    judged = [_judged_by(each, priced) for each in candidates]
    kept: list[int] = []
    # In this order whatever is as good as a candidate in every respect comes before it.
    for at in sorted(range(len(judged)), key=judged.__getitem__):
        if not any(all(map(le, judged[better], judged[at])) for better in kept):
            kept.append(at)
    return [candidates[at] for at in sorted(kept)]


def _judged_by(stage: Sized, priced: bool) -> tuple[float, ...]:
    """Its part in all that a choice is judged by, less is better: seconds, at the slow end too, and what `_cost` is."""
    rate, dollars = stage.option.rate, stage.dollars
    return (
        stage.seconds + rate.provisioning_seconds,
        stage.slowest + rate.provisioning_seconds * (1 + rate.margin),
        dollars if priced and dollars is not None else stage.billed_seconds,
    )


def best(stages: Sequence[StageWork], goals: Goals) -> Choice | None:
    """The choice that meets the goals and is preferred, or None when none does.

    A deadline should hold at the slow end of the rates' margins. Where no cluster gives that, one that meets it at the
    expected rate is taken, and of those the fastest.
    """
    limit = math.inf if goals.seconds is None else goals.seconds

    def within() -> Iterator[Choice]:
        return (choice for choice in choices(stages) if _affordable(choice, goals))

    safe = (choice for choice in within() if choice.slowest <= limit)
    found = min(safe, key=_preference(goals.prefer), default=None)
    if found is not None or goals.seconds is None:
        return found
    tight = (choice for choice in within() if choice.seconds <= limit)
    return min(tight, key=lambda choice: (choice.slowest, _cost(choice)), default=None)


def _comparable(options: Sequence[Option]) -> Sequence[Option]:
    priced = [option for option in options if option.dollars_per_second is not None]
    return priced or options[:1]


def _affordable(choice: Choice, goals: Goals) -> bool:
    return goals.budget is None or choice.dollars is None or choice.dollars <= goals.budget


def _cost(choice: Choice) -> float:
    """Dollars, else instance-seconds: within one plan prices are known for all choices or for none."""
    return choice.billed_seconds if choice.dollars is None else choice.dollars


def _preference(prefer: Prefer) -> Callable[[Choice], tuple[float, float]]:
    if prefer == "speed":
        return lambda choice: (choice.seconds, _cost(choice))
    return lambda choice: (_cost(choice), choice.seconds)
