"""What would meet a deadline that the limits do not allow, so that a person knows what to ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from include.scoring.cluster import (
    Choice,
    Option,
    Sized,
    StageWork,
    choices,
    combined,
    instances_for,
    sized,
)

# More than SageMaker gives to one job.
MOST = 100


def needed(stages: Sequence[StageWork], seconds: float) -> Choice | None:
    """The cheapest clusters, beyond the limits where it must be, that meet the deadline; None when none can.

    One stage is widened where that is enough, the model's first, since it is usually the slow part, the join last; else
    all of them.
    """
    order = {"transform": 0, "preprocess": 1, "join": 2}
    for widened in sorted(range(len(stages)), key=lambda at: order[stages[at].name]):
        found = _widen_one(stages, widened, seconds)
        if found is not None:
            return found
    free = [replace(stage, max_instances=MOST, fixed=None) for stage in stages]
    fastest = min(choices(_thinned(free)), key=lambda choice: (choice.seconds, choice.billed_seconds))
    if fastest.seconds > seconds:
        return None
    return min(
        (choice for choice in choices(_thinned(free)) if choice.seconds <= seconds),
        key=lambda choice: choice.billed_seconds,
    )


def _widen_one(stages: Sequence[StageWork], widened: int, seconds: float) -> Choice | None:
    found: list[Choice] = []
    for choice in choices([replace(stage, options=stage.options[:1]) for stage in stages]):
        rest = choice.seconds - choice.stages[widened].seconds
        stage, option = stages[widened], choice.stages[widened].option
        wider = _enough(stage, option, seconds - rest)
        if wider is not None:
            found.append(combined((*choice.stages[:widened], wider, *choice.stages[widened + 1 :])))
    return min(found, key=lambda choice: choice.billed_seconds, default=None)


def _enough(stage: StageWork, option: Option, seconds: float) -> Sized | None:
    """The fewest instances that do the stage's work in `seconds`, or None."""
    working = seconds - option.rate.start_seconds
    if working <= 0:
        return None
    count = instances_for(stage.bytes, option, working)
    if count > min(MOST, stage.units):
        return None
    made = sized(stage, option, count)
    return made if made.seconds <= seconds + 1e-9 else None


def _thinned(stages: Sequence[StageWork]) -> list[StageWork]:
    """Only the first type of each stage, since what is asked for is a number of instances."""
    return [replace(stage, options=stage.options[:1]) for stage in stages]
