"""A first run without any measurement: one shard is transformed alone, and the rest is sized from what that took."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from include.scoring.cluster import Choice, Goals, Option, StageWork, best
from include.scoring.cost import Prices, StageUse, load_prices
from include.scoring.decision import clock
from include.scoring.errors import PlanError
from include.scoring.estimate import StageEstimate
from include.scoring.history import HistoryRow, Rate, rate_for
from include.scoring.messages import count, duration, money
from include.scoring.rules import Noun

# With fewer there is nothing left to size.
FEWEST_SHARDS = 2


class CanaryPlan(Noun):
    """Within which limits the rest is sized: the number a person typed, or the most instances, quota included.

    `most` is of each type that the transform may run on.
    """

    most: dict[str, int]
    fixed: int | None
    prefer: Literal["cost", "speed"]


class Resized(NamedTuple):
    """Instances for the rest, the types that they may be of, and the sentences that say why.

    The first type is the canary's, on which the rate was measured.
    """

    instance_count: int
    instance_types: tuple[str, ...]
    sentences: tuple[str, ...]


class Canary(NamedTuple):
    """What was transformed alone: a shard of so many records of all the run's, out of so many shards."""

    records: int
    of_records: int
    of_shards: int

    def bytes_of(self, text_bytes: int) -> int:
        """Its share of the run's text."""
        return max(1, round(text_bytes * self.records / max(1, self.of_records)))


def resize(
    plan: Mapping[str, Any],
    canary: Canary,
    use: StageUse,
    *,
    spent: float | None,
    now: datetime,
    prices: Prices | None = None,
) -> Resized:
    """How many instances the rest of a run's transform gets.

    `plan` is the plan as JSON, `use` what the canary's job used, `spent` the dollars of the run's jobs until now (None
    when unknown). The job that joins, where there is one, keeps its part of the time and of the budget.

    A deadline that cannot be kept any more is said, and the fastest clusters within the budget are taken: what was
    paid for until now would else be lost. Raises PlanError when the cheapest would exceed the budget that nobody
    approved to exceed.
    """
    prices = (prices or load_prices()).overridden(plan["prices"])
    rate, measured = _rate(plan, canary, use), canary.bytes_of(plan["input"]["text_bytes"])
    limits = CanaryPlan.model_validate(plan["canary"])
    kind = use.instance_type
    left = canary.of_shards - 1
    work = StageWork(
        name="transform",
        bytes=max(1, plan["input"]["text_bytes"] - measured),
        units=left,
        max_instances=limits.most[kind],
        options=(Option(instance_type=kind, rate=rate, dollars_per_second=prices.per_second(kind)),),
        fixed=limits.fixed,
        hashed=True,
    )
    deadline = None if plan["deadline"] is None else datetime.fromisoformat(plan["deadline"])
    join = StageEstimate.model_validate(plan["estimate"]["join"])
    budget = None
    if plan["budget"] is not None and not plan["approval"]:
        budget = plan["budget"] - (spent or 0.0) - (join.dollars or 0.0)
    seconds = None if deadline is None else (deadline - now).total_seconds() - join.provisioning_seconds
    speed, start = f"{rate.bytes_per_second / 1e6:.3g} MB/s", duration(rate.start_seconds)
    first = f"One of {count(canary.of_shards, 'shard')} was transformed first, on 1 × {kind}"
    if kind != plan["transform"]["instance_type"]:
        first += f", as AWS had no {plan['transform']['instance_type']}"
    said = [f"{first}: {speed} after {start} to start."]
    choice = None
    # The join has the time that it may take at the slow end; where that cannot be had, what is expected.
    for joins in dict.fromkeys((join.high, join.seconds)):
        before = None if seconds is None else seconds - joins
        choice = choice or best((work,), Goals(seconds=before, budget=budget, prefer=limits.prefer))
    if choice is None and deadline is not None:
        choice = best((work,), Goals(budget=budget, prefer="speed"))
        if choice is not None:
            said.append(
                f"By that rate the deadline of {clock(deadline, now)} cannot be kept; the run should take another "
                f"{duration(choice.seconds)} on the fastest cluster that its limits allow."
            )
    if choice is None:
        raise PlanError(_too_dear(best((work,), Goals(prefer="cost")), budget, rate, join.dollars))
    [stage] = choice.stages
    said.append(
        f"Transform uses {stage.count} × {kind} for the other {count(left, 'shard')}, as that rate asks for."
    )
    others = (each for each, most in limits.most.items() if most >= stage.count)
    return Resized(stage.count, tuple(dict.fromkeys((kind, *others))), tuple(said))


def with_calibration(plan: Mapping[str, Any], resized: Mapping[str, Any], instances: int) -> dict[str, Any]:
    """The plan for a report: what the canary showed stands in place of what was assumed.

    `instances` is how many the transform's jobs had in all.
    """
    kept = [text for text in plan["sentences"] if not text.startswith("Transform uses ")]
    return {
        **plan,
        "sentences": [*kept, *resized["sentences"]],
        "transform": {
            **plan["transform"],
            "instance_count": instances,
            "instance_type": resized["instance_types"][0],
        },
    }


def _rate(plan: Mapping[str, Any], canary: Canary, use: StageUse) -> Rate:
    """The canary's, as if it were the one run that was measured."""
    # Where nobody logged requests, all of its time counts as work: slower than it is, so never too few instances.
    busy = use.busy_seconds or use.running_seconds
    row = HistoryRow(
        pipeline=plan["pipeline"],
        run_id=plan["run_id"],
        moment=plan["moment"],
        stage="transform",
        instance_type=use.instance_type,
        instance_count=use.instance_count,
        model=plan["model"]["key"],
        bytes=canary.bytes_of(plan["input"]["text_bytes"]),
        records=canary.records,
        objects=1,
        provisioning_seconds=use.provisioning_seconds,
        running_seconds=use.running_seconds,
        busy_seconds=busy,
        start_seconds=max(0.0, use.running_seconds - busy),
        predicted_seconds=None,
        dollars=None,
    )
    return rate_for([row], stage="transform", instance_type=row.instance_type, model=row.model)


def _too_dear(cheapest: Choice | None, budget: float | None, rate: Rate, join: float | None) -> str:
    assert cheapest is not None  # noqa: S101 - without goals one instance always fits
    kept = f" beside the {money(join)} of the join" if join else ""
    return (
        f"the canary shows {rate.bytes_per_second / 1e6:.3g} MB/s, by which the rest would cost at least "
        f"{money(cheapest.dollars)}; of the budget {money(max(0.0, budget or 0.0))} is left{kept}. Nothing further was "
        f"spent: raise the budget and clear `shards` and what follows it, or set on_over_budget: approve"
    )
