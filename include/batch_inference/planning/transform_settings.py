"""Chooses payload, concurrency and batch strategy of the requests to the model, and records who chose them and why."""

from __future__ import annotations

from typing import Literal

from batch_inference.common.formatting import format_count
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import MAX_PAYLOAD_MB_IN_FLIGHT, get_default_max_payload_mb
from batch_inference.planning.clusters import sizing
from batch_inference.planning.plan_log import PlanLog


def _choose(requested: int | None, configured: int | None, default: int, why: str) -> tuple[int, str, str]:
    """The value that applies, who chose it, and why; `why` is that of the default."""
    if requested is not None:
        return requested, "trigger form", f"the trigger form said {requested}"
    if configured is not None:
        return configured, "pipeline", "the pipeline says so"
    return default, "plan", why


def choose_max_payload_mb(
    pipeline: Pipeline, params: RunParams, plan_log: PlanLog, *, is_inference_pipeline: bool
) -> int:
    """MaxPayloadInMB of the transform job."""
    chosen, chooser, why = _choose(
        params.transform_max_payload_mb,
        pipeline.transform.max_payload_mb,
        get_default_max_payload_mb(is_inference_pipeline=is_inference_pipeline),
        "several containers can hand each other no more"
        if is_inference_pipeline
        else "that is SageMaker's default",
    )
    plan_log.record("transform.max_payload_mb", chooser, f"A request holds up to {chosen} MB, because {why}.")
    return chosen


def choose_max_concurrent_transforms(
    pipeline: Pipeline, params: RunParams, plan_log: PlanLog, instance_type: str, max_payload_mb: int
) -> int:
    """MaxConcurrentTransforms: requests in flight on each instance, at most 100 MB of them."""
    chosen, chooser, why = _choose(
        params.transform_max_concurrent_transforms,
        pipeline.transform.max_concurrent_transforms,
        sizing.compute_max_concurrent_transforms(instance_type, max_payload_mb, MAX_PAYLOAD_MB_IN_FLIGHT),
        f"that is one per vCPU of {instance_type}, within SageMaker's 100 MB in flight",
    )
    limit = MAX_PAYLOAD_MB_IN_FLIGHT // max_payload_mb
    if chooser == "pipeline" and chosen > limit:
        why += f", lowered from {chosen} because {chosen} × {max_payload_mb} MB is above SageMaker's 100 MB"
        chosen = limit
    sentence = f"Each instance works on {format_count(chosen, 'request')} at a time, because {why}."
    plan_log.record("transform.max_concurrent_transforms", chooser, sentence)
    return chosen


def choose_batch_strategy(
    pipeline: Pipeline, params: RunParams, plan_log: PlanLog
) -> Literal["MultiRecord", "SingleRecord"]:
    """BatchStrategy of the transform job."""
    requested = params.transform_batch_strategy
    chosen = requested or pipeline.transform.batch_strategy
    chooser, why = (
        ("trigger form", "the trigger form said so") if requested else ("pipeline", "the pipeline says so")
    )
    records_clause = "as many records as fit" if chosen == "MultiRecord" else "one record"
    plan_log.record(
        "transform.batch_strategy", chooser, f"A request holds {records_clause} ({chosen}), because {why}."
    )
    return chosen
