"""What a run will roughly take and cost, with the range that the margins of its rates leave."""

from __future__ import annotations

from include.scoring.cluster import Choice, Sized
from include.scoring.cost import total
from include.scoring.decision import stage_names
from include.scoring.messages import duration, money
from include.scoring.rules import Noun


class StageEstimate(Noun):
    """Seconds that the job runs, instance-seconds billed, and dollars, or None when the price is unknown.

    `low` and `high` are the ends of the range for `seconds`; `provisioning_seconds` come before and are not billed. It
    rests on so many measured `runs`; with none of them, on stated defaults, so that being off says nothing about the
    planner.
    """

    seconds: float
    low: float
    high: float
    billed_seconds: float
    dollars: float | None
    provisioning_seconds: float = 0.0
    runs: int = 0


class Estimate(Noun):
    """Estimates of the stages and of the run from start to end, provisioning and Airflow's own tasks included."""

    preprocess: StageEstimate
    transform: StageEstimate
    join: StageEstimate
    seconds: float
    low: float
    high: float
    dollars: float | None
    dollars_low: float | None
    dollars_high: float | None
    basis: str

    def sentence(self) -> str:
        """One sentence for people."""
        takes = f"The run should take {duration(self.low)} to {duration(self.high)}"
        if self.dollars is None:
            return f"{takes}; its cost is unknown, because an instance type has no known price."
        return f"{takes} and cost {money(self.dollars_low)} to {money(self.dollars_high)}."


NOTHING = StageEstimate(seconds=0, low=0, high=0, billed_seconds=0, dollars=0)


def nothing() -> Estimate:
    """The estimate of a run that has nothing to do."""
    return Estimate(
        preprocess=NOTHING,
        transform=NOTHING,
        join=NOTHING,
        seconds=0,
        low=0,
        high=0,
        dollars=0,
        dollars_low=0,
        dollars_high=0,
        basis="nothing to do",
    )


def estimate(choice: Choice) -> Estimate:
    """The estimate of a run on the chosen clusters."""
    names = stage_names(choice)
    stages = {name: _stage(stage) for name, stage in zip(names, choice.stages, strict=True)}
    return Estimate(
        preprocess=stages.get("preprocess", NOTHING),
        transform=stages["transform"],
        join=stages.get("join", NOTHING),
        seconds=choice.seconds,
        low=choice.fastest,
        high=choice.slowest,
        dollars=choice.dollars,
        dollars_low=total(_dollars(stage, stage.fastest) for stage in choice.stages),
        dollars_high=total(_dollars(stage, stage.slowest) for stage in choice.stages),
        basis="; ".join(
            stage.option.rate.basis(name) for name, stage in zip(names, choice.stages, strict=True)
        ),
    )


def _stage(stage: Sized) -> StageEstimate:
    return StageEstimate(
        seconds=stage.seconds,
        low=stage.fastest,
        high=stage.slowest,
        billed_seconds=stage.billed_seconds,
        dollars=stage.dollars,
        provisioning_seconds=stage.option.rate.provisioning_seconds,
        runs=stage.option.rate.runs,
    )


def _dollars(stage: Sized, seconds: float) -> float | None:
    price = stage.option.dollars_per_second
    return None if price is None else stage.count * seconds * stage.even * price
