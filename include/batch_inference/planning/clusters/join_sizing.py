"""Sizes the processing job that joins the runs that are too large for Airflow's workers.

The join processes tens of megabytes a second on each core: minutes where the transform takes hours. So it gets the
fewest instances that finish in a quarter of an hour, more only for the deadline or where speed is preferred, and fewer
where the budget requires it.
"""

from __future__ import annotations

import math

from batch_inference.common.errors import PlanError
from batch_inference.common.formatting import format_bytes
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.cluster_choice import ClusterDecision
from batch_inference.planning.clusters.cluster_model import StageWorkload, count_instances_needed
from batch_inference.planning.clusters.work_division import EqualShards
from batch_inference.planning.plan_log import PlanLog

TARGET_MINUTES = 15
#: Each instance holds all predictions besides its share of the records: at most this many bytes per byte of input.
PREDICTION_BYTES_PER_INPUT_BYTE = 1.0
#: Bytes written per byte of records read.
OUTPUT_BYTES_PER_INPUT_BYTE = 1.5


class JoinJobPlan(FrozenModel):
    """The processing job that joins when the accepted records exceed `threshold_bytes`.

    `instance_types` are tried in this order.
    """

    threshold_bytes: int
    instance_type: str
    instance_types: tuple[str, ...]
    instance_count: int
    volume_size_gb: int
    max_runtime_seconds: int


def build_join_workload(pipeline: Pipeline, params: RunParams, text_bytes: int) -> StageWorkload | None:
    """The workload of a join job for `text_bytes` of input; None where Airflow's workers join."""
    threshold_bytes = pipeline.join.processing_above
    if threshold_bytes is None or text_bytes <= threshold_bytes:
        return None
    max_shards = sizing.compute_max_shards_for_request(text_bytes, params.transform_instance_count)
    return StageWorkload(
        name="join",
        work=EqualShards(bytes=text_bytes, max_parallelism=max_shards),
        target_seconds=TARGET_MINUTES * 60,
    )


def plan_join_job(
    pipeline: Pipeline, decision: ClusterDecision, shard_count: int, *, reason: str, plan_log: PlanLog
) -> JoinJobPlan | None:
    """The join job for `shard_count` shards, or None where Airflow's workers join; `reason` explains its instances.

    Raises PlanError when no disk of SageMaker's is large enough.
    """
    threshold_bytes = pipeline.join.processing_above
    stage = next((each for each in decision.cluster_plan.stages if each.name == "join"), None)
    if threshold_bytes is None or stage is None:
        return None
    workload = stage.workload
    target_count = count_instances_needed(workload, stage.option, TARGET_MINUTES * 60)
    if decision.goals.prefer == "cost" and stage.instance_count == target_count:
        reason = f"that joins {format_bytes(workload.work.bytes)} in about {TARGET_MINUTES} minutes or less"
    elif stage.instance_count < target_count:
        is_limit = stage.instance_count == workload.list_instance_counts(stage.option)[-1]
        reason = "the limits allow no more" if is_limit else "the budget allows no more"
    plan_log.record_cluster(stage, unit="shard", is_type_requested=False, reason=reason)
    plan_log.add(f"Up to {format_bytes(threshold_bytes)} of records Airflow's workers join, without a job.")
    # Rounding the shards to a multiple of the transform's instances may leave fewer of them.
    instance_count = min(stage.instance_count, shard_count)
    return JoinJobPlan(
        threshold_bytes=threshold_bytes,
        instance_type=stage.option.instance_type,
        instance_types=decision.list_acceptable_types("join"),
        instance_count=instance_count,
        volume_size_gb=_compute_volume_size_gb(workload.work.bytes, instance_count),
        max_runtime_seconds=pipeline.join.max_runtime_minutes * 60,
    )


def _compute_volume_size_gb(text_bytes: int, instance_count: int) -> int:
    """GB of disk: the fullest instance is taken to get twice its share of the records."""
    records = text_bytes if instance_count == 1 else min(text_bytes, 2 * text_bytes // instance_count)
    wanted = 10 + math.ceil(
        (records * (1 + OUTPUT_BYTES_PER_INPUT_BYTE) + text_bytes * PREDICTION_BYTES_PER_INPUT_BYTE) / 1e9
    )
    if wanted > sizing.MAX_VOLUME_SIZE_GB:
        raise PlanError(
            f"an instance of the join job would need {wanted:,} GB of disk for {format_bytes(text_bytes)} of "
            f"input, and SageMaker gives at most {sizing.MAX_VOLUME_SIZE_GB:,}; drop join.processing_above, allow "
            "more instances, or split the run"
        )
    return wanted
