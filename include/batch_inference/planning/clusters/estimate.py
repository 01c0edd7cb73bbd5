"""Estimates time and cost of a run: what is expected, and what is kept with the confidence of its goals."""

from __future__ import annotations

import math

from batch_inference.common.formatting import format_dollars, format_duration
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.cluster_model import DEFAULT_CONFIDENCE, ClusterPlan, SizedStage
from batch_inference.pricing.costs import sum_if_known


class StageEstimate(FrozenModel):
    """Running time of the job, instance-seconds billed, and dollars, or None when the price is unknown.

    `seconds` are expected; in as many nights as the estimate's `confidence` says they are at most `seconds_high`, and
    in as many they are at least `seconds_low`. `provisioning_seconds` come before and are not billed. The estimate is
    based on `runs` measured runs; with none, on defaults, so that its error says nothing about the planner.
    """

    seconds: float = 0.0
    seconds_low: float = 0.0
    seconds_high: float = 0.0
    billed_seconds: float = 0.0
    dollars: float | None = 0.0
    provisioning_seconds: float = 0.0
    runs: int = 0


class Estimate(FrozenModel):
    """Estimates of the stages, and of the run from start to end, provisioning and Airflow's own tasks included.

    The run takes at most `seconds_high` and `dollars_high` with the probability `confidence`.

    The defaults are those of a run that has nothing to do.
    """

    preprocess: StageEstimate = StageEstimate()
    transform: StageEstimate = StageEstimate()
    join: StageEstimate = StageEstimate()
    seconds: float = 0.0
    seconds_low: float = 0.0
    seconds_high: float = 0.0
    dollars: float | None = 0.0
    dollars_low: float | None = 0.0
    dollars_high: float | None = 0.0
    confidence: float = DEFAULT_CONFIDENCE
    basis: str = "nothing to do"

    def describe(self) -> str:
        """One sentence for people."""
        nights = f"in {format_nights(self.confidence)} at most"
        takes = f"The run should take {format_duration(self.seconds)} ({nights} {format_duration(self.seconds_high)})"
        if self.dollars is None:
            return f"{takes}; its cost is unknown, because an instance type has no known price."
        return (
            f"{takes} and cost {format_dollars(self.dollars)} (at most {format_dollars(self.dollars_high)})."
        )


def format_nights(probability: float) -> str:
    """`95 of 100 nights`, or of 1,000 where hundredths do not say it."""
    total = _count_nights(probability)
    return f"{round(probability * total):,} of {total:,} nights"


def format_nights_at_least(probability: float, confidence: float) -> str:
    """The same, rounded down, of as many nights as say the confidence."""
    total = _count_nights(confidence)
    return f"{math.floor(probability * total + 1e-6):,} of {total:,} nights"


def _count_nights(probability: float) -> int:
    return 100 if abs(probability * 100 - round(probability * 100)) < 1e-9 else 1000


def estimate_run(cluster_plan: ClusterPlan, confidence: float = DEFAULT_CONFIDENCE) -> Estimate:
    """The estimate of a run on the chosen clusters."""
    stages = {stage.name: _estimate_stage(stage, confidence) for stage in cluster_plan.stages}
    dollars_low, dollars_high = (
        sum_if_known(stage.compute_dollars(stage_seconds) for stage, stage_seconds in bounds)
        for bounds in (
            [(each, stages[each.name].seconds_low) for each in cluster_plan.stages],
            [(each, stages[each.name].seconds_high) for each in cluster_plan.stages],
        )
    )
    return Estimate(
        preprocess=stages.get("preprocess", StageEstimate()),
        transform=stages["transform"],
        join=stages.get("join", StageEstimate()),
        seconds=cluster_plan.seconds,
        # At a confidence of 0.5 both are the same quantile, of the worst assignment.
        seconds_low=min(cluster_plan.seconds, cluster_plan.compute_seconds_at(1 - confidence)),
        seconds_high=cluster_plan.compute_seconds_at(confidence),
        dollars=cluster_plan.dollars,
        dollars_low=dollars_low,
        dollars_high=dollars_high,
        confidence=confidence,
        basis="; ".join(stage.option.rate.describe_basis(stage.name) for stage in cluster_plan.stages),
    )


def _estimate_stage(stage: SizedStage, confidence: float) -> StageEstimate:
    return StageEstimate(
        seconds=stage.seconds,
        seconds_low=min(stage.seconds, stage.compute_seconds_at(1 - confidence)),
        seconds_high=stage.compute_seconds_at(confidence),
        billed_seconds=stage.billed_seconds,
        dollars=stage.dollars,
        provisioning_seconds=stage.option.rate.provisioning_seconds,
        runs=stage.option.rate.runs,
    )
