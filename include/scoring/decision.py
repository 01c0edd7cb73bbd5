"""Turns a pipeline, a run's params and what is known of rates into the clusters of the run, or says what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from include.scoring.cluster import Choice, Goals, Option, Sized, StageWork, best, choices, sized
from include.scoring.config import Pipeline
from include.scoring.cost import Prices, total
from include.scoring.deadline import deadline_at
from include.scoring.errors import PlanError
from include.scoring.history import STAGES, HistoryRow, Rate, Stage, rate_for
from include.scoring.messages import duration, listed, money
from include.scoring.needed import needed
from include.scoring.params import RunParams
from include.scoring.quotas import Quota, instance_types, tightest


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage has to do.

    Bytes of text, how many instances can share it, the largest part that cannot be cut; `hashed`, `squares`, `doubt`,
    `objects`, `lists` and `within` as in StageWork. `before` are seconds in which the work is laid out, which are not
    billed.
    """

    bytes: int
    units: int
    largest: int = 0
    hashed: bool = False
    squares: float = 0.0
    doubt: float = 0.0
    objects: int = 0
    lists: tuple[int, ...] = ()
    before: float = 0.0
    within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the decision rests on: prices, measured runs, quotas by AWS's names, and the time.

    `can_ask` says that the run can wait for a person's approval.
    """

    prices: Prices
    history: Sequence[HistoryRow]
    quotas: Mapping[str, int]
    model: str
    now: datetime
    can_ask: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The chosen clusters, the goals they were chosen for, and, above a budget, what a person would approve."""

    choice: Choice
    works: tuple[StageWork, ...]
    goals: Goals
    deadline: datetime | None
    approval: str | None = None

    def of(self, stage: Stage) -> tuple[StageWork, Sized]:
        """What a stage has to do and what it got. Raises LookupError for one that this run does not have."""
        for work, chosen in zip(self.works, self.choice.stages, strict=True):
            if work.name == stage:
                return work, chosen
        raise LookupError(f"this run has no job to {stage}")

    def acceptable(self, stage: Stage) -> tuple[str, ...]:
        """Types that a stage may run on as it is sized: the chosen one, then those that AWS and the budget allow."""
        work, chosen = self.of(stage)
        others = [each.instance_type for each in work.options if self._stands_in(each, work, chosen)]
        return tuple(dict.fromkeys((chosen.option.instance_type, *others)))

    def _stands_in(self, option: Option, work: StageWork, chosen: Sized) -> bool:
        """Whether so many instances of this type could be had, and paid for, in place of those chosen."""
        if option.quota is not None and option.quota < chosen.count:
            return False
        if self.goals.budget is None:
            return True
        dollars = total([self.choice.dollars, sized(work, option, chosen.count).dollars])
        # Who approved of more than the budget has not approved of what nobody can tell.
        return dollars is not None and (
            self.approval is not None or dollars - (chosen.dollars or 0.0) <= self.goals.budget
        )


def decide(pipeline: Pipeline, params: RunParams, works: Mapping[Stage, Work], known: Knowledge) -> Decision:
    """The preferred clusters among those that meet the goals.

    Raises PlanError, saying what would be needed, when none do.
    """
    stages = tuple(_stage(pipeline, params, stage, work, known) for stage, work in works.items())
    goals, deadline = _goals(pipeline, params, known)
    if goals.budget is not None:
        _refuse_unknown_prices(stages, goals.budget)
    choice = best(stages, goals)
    if choice is None and goals.budget is not None:
        # What is done within a time of its own may take longer before a budget is exceeded for it.
        stages = tuple(stage if stage.within is None else replace(stage, within=math.inf) for stage in stages)
        choice = best(stages, goals)
    if choice is not None:
        return Decision(choice=choice, works=stages, goals=goals, deadline=deadline)
    unlimited = best(stages, Goals(seconds=goals.seconds, prefer="cost"))
    if unlimited is None:
        raise PlanError(_too_late(stages, goals, deadline, known.now))
    over = _over_budget(unlimited, goals, deadline)
    if pipeline.goals.on_over_budget == "approve":
        if known.can_ask:
            return Decision(choice=unlimited, works=stages, goals=goals, deadline=deadline, approval=over)
        over += "; on_over_budget is 'approve', but this run has nobody to ask"
    raise PlanError(f"{over}; raise the budget, or allow more time")


def clock(moment: datetime, now: datetime) -> str:
    """A time of day in UTC, with its date when that is not today's."""
    return (
        f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%H:%M} UTC on {moment:%Y-%m-%d}"
    )


def _stage(pipeline: Pipeline, params: RunParams, stage: Stage, work: Work, known: Knowledge) -> StageWork:
    limits = pipeline.limits_of(stage)
    if limits is None:
        raise LookupError(f"the pipeline {pipeline.name} has no job to {stage}")
    typed = {
        "preprocess": params.preprocess_instance_count,
        "transform": params.transform_instance_count,
    }.get(stage)
    names = instance_types(pipeline, params, stage)
    quotas: dict[str, Quota | None] = {name: tightest(known.quotas, stage, name) for name in names}
    options = tuple(
        Option(
            instance_type=name,
            rate=_later(
                rate_for(known.history, stage=stage, instance_type=name, model=known.model), work.before
            ),
            dollars_per_second=known.prices.per_second(name),
            quota=quota.instances if quota else None,
        )
        for name, quota in quotas.items()
    )
    usable = tuple(option for option in options if option.quota is None or option.quota >= (typed or 1))
    if not usable:
        most = max((quota for quota in quotas.values() if quota), key=lambda quota: quota.instances)
        raise PlanError(
            f"the account's quota {most.name!r} is {most.instances}, and {stage} needs {typed or 1}; ask AWS for more "
            f"in Service Quotas, or name another instance type"
        )
    return StageWork(
        name=stage,
        bytes=work.bytes,
        largest=work.largest,
        hashed=work.hashed,
        squares=work.squares,
        doubt=work.doubt,
        objects=work.objects,
        lists=work.lists,
        within=work.within,
        units=work.units,
        max_instances=min(limits.max_instances, params.max_instances or limits.max_instances),
        options=usable,
        fixed=typed,
    )


def _later(rate: Rate, seconds: float) -> Rate:
    """A rate whose job can start so much later."""
    return replace(rate, provisioning_seconds=rate.provisioning_seconds + seconds) if seconds else rate


def _goals(pipeline: Pipeline, params: RunParams, known: Knowledge) -> tuple[Goals, datetime | None]:
    stated = params.deadline if params.deadline is not None else pipeline.goals.deadline
    deadline = None if stated is None else deadline_at(stated, known.now)
    return (
        Goals(
            seconds=None if deadline is None else (deadline - known.now).total_seconds(),
            budget=params.budget if params.budget is not None else pipeline.goals.budget,
            prefer=params.prefer or pipeline.goals.prefer,
        ),
        deadline,
    )


def _refuse_unknown_prices(stages: Sequence[StageWork], budget: float) -> None:
    for stage in stages:
        if all(option.dollars_per_second is None for option in stage.options):
            name = stage.options[0].instance_type
            raise PlanError(
                f"the budget of {money(budget)} cannot be kept, because the price of {name} is unknown; state it under "
                f"prices in the pipeline, in dollars per hour, or drop the budget"
            )


def _over_budget(cheapest: Choice, goals: Goals, deadline: datetime | None) -> str:
    aim = "" if deadline is None else f" that are done by {deadline:%H:%M} UTC"
    return (
        f"the budget is {money(goals.budget)}, but the cheapest clusters{aim} cost about {money(cheapest.dollars)}: "
        f"{describe(cheapest)}"
    )


def describe(choice: Choice) -> str:
    """`2 × ml.m5.xlarge to preprocess and 8 × ml.m5.xlarge to transform`."""
    return listed(
        [
            f"{stage.count} × {stage.option.instance_type} to {name}"
            for name, stage in zip(stage_names(choice), choice.stages, strict=True)
        ]
    )


def stage_names(choice: Choice) -> tuple[Stage, ...]:
    """The stages of a choice: the transform alone, or it with what comes before and, in large runs, after."""
    return ("transform",) if len(choice.stages) == 1 else STAGES[: len(choice.stages)]


def _limit(stage: StageWork) -> str:
    """What keeps a stage from more instances."""
    if stage.fixed:
        return f"{stage.name}_instance_count was set to {stage.fixed}"
    quotas = [stage.max_instances if option.quota is None else option.quota for option in stage.options]
    if max(quotas) < stage.max_instances:
        return f"the account's quota lets {stage.name} have {max(quotas)}"
    return f"{stage.name}.max_instances is {stage.max_instances}"


def _too_late(stages: Sequence[StageWork], goals: Goals, deadline: datetime | None, now: datetime) -> str:
    assert deadline is not None  # noqa: S101 - without a deadline every choice is in time
    assert goals.seconds is not None  # noqa: S101 - as above
    earliest = min(choices(stages), key=lambda choice: choice.seconds)
    ends = clock(now + timedelta(seconds=earliest.seconds), now)
    limits = listed([_limit(stage) for stage in stages])
    enough = needed(stages, goals.seconds)
    at = clock(deadline, now)
    if enough is None:
        idle = earliest.seconds - sum(
            stage.seconds - stage.option.rate.start_seconds for stage in earliest.stages
        )
        return (
            f"the run cannot be done by {at} with any number of instances: provisioning, start-up and Airflow's own "
            f"tasks take {duration(idle)} of the {duration(goals.seconds)} left, and the rest cannot be divided "
            f"further; earliest end {ends} with {describe(earliest)}"
        )
    return f"needs {describe(enough)} to be done by {at}; {limits}; earliest end {ends}"
