"""Estimates time and cost of a run, as a range given by the margins of its rates."""

from __future__ import annotations

from batch_inference.common.formatting import format_dollars, format_duration
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.cluster_model import ClusterPlan, SizedStage
from batch_inference.pricing.costs import sum_if_known


class StageEstimate(FrozenModel):
    """Running time of the job, instance-seconds billed, and dollars, or None when the price is unknown.

    `seconds_low` and `seconds_high` are the ends of the range for `seconds`; `provisioning_seconds` come before and are
    not billed. The estimate is based on `runs` measured runs; with none, on defaults, so that its error says nothing
    about the planner.
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
    basis: str = "nothing to do"

    def describe(self) -> str:
        """One sentence for people."""
        takes = (
            f"The run should take {format_duration(self.seconds_low)} to {format_duration(self.seconds_high)}"
        )
        if self.dollars is None:
            return f"{takes}; its cost is unknown, because an instance type has no known price."
        return f"{takes} and cost {format_dollars(self.dollars_low)} to {format_dollars(self.dollars_high)}."


def estimate_run(cluster_plan: ClusterPlan) -> Estimate:
    """The estimate of a run on the chosen clusters."""
    stages = {stage.name: _estimate_stage(stage) for stage in cluster_plan.stages}
    return Estimate(
        preprocess=stages.get("preprocess", StageEstimate()),
        transform=stages["transform"],
        join=stages.get("join", StageEstimate()),
        seconds=cluster_plan.seconds,
        seconds_low=cluster_plan.seconds_low,
        seconds_high=cluster_plan.seconds_high,
        dollars=cluster_plan.dollars,
        dollars_low=sum_if_known(stage.compute_dollars(stage.seconds_low) for stage in cluster_plan.stages),
        dollars_high=sum_if_known(stage.compute_dollars(stage.seconds_high) for stage in cluster_plan.stages),
        basis="; ".join(stage.option.rate.describe_basis(stage.name) for stage in cluster_plan.stages),
    )


def _estimate_stage(stage: SizedStage) -> StageEstimate:
    return StageEstimate(
        seconds=stage.seconds,
        seconds_low=stage.seconds_low,
        seconds_high=stage.seconds_high,
        billed_seconds=stage.billed_seconds,
        dollars=stage.dollars,
        provisioning_seconds=stage.option.rate.provisioning_seconds,
        runs=stage.option.rate.runs,
    )
