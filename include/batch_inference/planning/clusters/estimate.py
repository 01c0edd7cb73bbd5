"""Estimates time and cost of a run, as a range given by the margins of its rates."""

from __future__ import annotations

from batch_inference.common.formatting import format_dollars, format_duration
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.cluster_choice import list_stage_names
from batch_inference.planning.clusters.cluster_model import ClusterPlan, SizedStage
from batch_inference.pricing.costs import sum_if_known


class StageEstimate(FrozenModel):
    """Running time of the job, instance-seconds billed, and dollars, or None when the price is unknown.

    `seconds_low` and `seconds_high` are the ends of the range for `seconds`; `provisioning_seconds` come before and are
    not billed. The estimate is based on `runs` measured runs; with none, on defaults, so that its error says nothing
    about the planner.
    """

    seconds: float
    seconds_low: float
    seconds_high: float
    billed_seconds: float
    dollars: float | None
    provisioning_seconds: float = 0.0
    runs: int = 0


class Estimate(FrozenModel):
    """Estimates of the stages, and of the run from start to end, provisioning and Airflow's own tasks included."""

    preprocess: StageEstimate
    transform: StageEstimate
    join: StageEstimate
    seconds: float
    seconds_low: float
    seconds_high: float
    dollars: float | None
    dollars_low: float | None
    dollars_high: float | None
    basis: str

    def describe(self) -> str:
        """One sentence for people."""
        takes = (
            f"The run should take {format_duration(self.seconds_low)} to {format_duration(self.seconds_high)}"
        )
        if self.dollars is None:
            return f"{takes}; its cost is unknown, because an instance type has no known price."
        return f"{takes} and cost {format_dollars(self.dollars_low)} to {format_dollars(self.dollars_high)}."


EMPTY_STAGE_ESTIMATE = StageEstimate(seconds=0, seconds_low=0, seconds_high=0, billed_seconds=0, dollars=0)


def build_empty_estimate() -> Estimate:
    """The estimate of a run that has nothing to do."""
    return Estimate(
        preprocess=EMPTY_STAGE_ESTIMATE,
        transform=EMPTY_STAGE_ESTIMATE,
        join=EMPTY_STAGE_ESTIMATE,
        seconds=0,
        seconds_low=0,
        seconds_high=0,
        dollars=0,
        dollars_low=0,
        dollars_high=0,
        basis="nothing to do",
    )


def estimate_run(cluster_plan: ClusterPlan) -> Estimate:
    """The estimate of a run on the chosen clusters."""
    names = list_stage_names(cluster_plan)
    stages = {name: _estimate_stage(stage) for name, stage in zip(names, cluster_plan.stages, strict=True)}
    return Estimate(
        preprocess=stages.get("preprocess", EMPTY_STAGE_ESTIMATE),
        transform=stages["transform"],
        join=stages.get("join", EMPTY_STAGE_ESTIMATE),
        seconds=cluster_plan.seconds,
        seconds_low=cluster_plan.fastest_seconds,
        seconds_high=cluster_plan.slowest_seconds,
        dollars=cluster_plan.dollars,
        dollars_low=sum_if_known(
            _compute_dollars(stage, stage.fastest_seconds) for stage in cluster_plan.stages
        ),
        dollars_high=sum_if_known(
            _compute_dollars(stage, stage.slowest_seconds) for stage in cluster_plan.stages
        ),
        basis="; ".join(
            stage.option.rate.describe_basis(name)
            for name, stage in zip(names, cluster_plan.stages, strict=True)
        ),
    )


def _estimate_stage(stage: SizedStage) -> StageEstimate:
    return StageEstimate(
        seconds=stage.seconds,
        seconds_low=stage.fastest_seconds,
        seconds_high=stage.slowest_seconds,
        billed_seconds=stage.billed_seconds,
        dollars=stage.dollars,
        provisioning_seconds=stage.option.rate.provisioning_seconds,
        runs=stage.option.rate.runs,
    )


def _compute_dollars(stage: SizedStage, seconds: float) -> float | None:
    price = stage.option.dollars_per_second
    return None if price is None else stage.instance_count * seconds * stage.billed_share * price
