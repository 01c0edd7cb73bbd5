"""Plans the trials of a run with `calibrate: explore`, and takes the settings that earlier ones found to cost least."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import (
    INFERENCE_PIPELINE_MAX_PAYLOAD_MB,
    MAX_PAYLOAD_MB_IN_FLIGHT,
    get_default_max_payload_mb,
)
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.cluster_choice import ClusterDecision, PlanningContext
from batch_inference.planning.clusters.exploration import (
    MAX_TRIALS,
    KnownSettings,
    PlannedRun,
    SearchSpace,
    TrialDecision,
    TypeOption,
    plan_trials,
    read_known_settings,
)
from batch_inference.planning.clusters.instance_quotas import has_room_for, list_instance_types
from batch_inference.planning.clusters.settings_cost import RequestSettings
from batch_inference.planning.plan import TransformPlan


def read_settings(pipeline: Pipeline, params: RunParams, context: PlanningContext) -> KnownSettings | None:
    """What the history knows of the transform's settings; None without `calibrate: explore`, or without history."""
    if pipeline.goals.calibrate != "explore":
        return None
    stated = params.transform_max_concurrent_transforms or pipeline.transform.max_concurrent_transforms
    stated_payload = params.transform_max_payload_mb or pipeline.transform.max_payload_mb
    is_inference_pipeline = context.model.containers > 1
    payload = stated_payload or get_default_max_payload_mb(is_inference_pipeline=is_inference_pipeline)
    types = {
        name: TypeOption(
            dollars_per_second=price,
            default_bytes_per_second=None if sizing.is_accelerated(name) else float(sizing.count_vcpus(name)),
            default_concurrency=stated
            or sizing.compute_max_concurrent_transforms(name, payload, MAX_PAYLOAD_MB_IN_FLIGHT),
        )
        for name in list_instance_types(pipeline, params, "transform")
        if (price := context.prices.get_price_per_second(name))
    }
    space = SearchSpace(
        types=types,
        max_payload_mb=INFERENCE_PIPELINE_MAX_PAYLOAD_MB
        if is_inference_pipeline
        else MAX_PAYLOAD_MB_IN_FLIGHT,
        stated_concurrency=stated,
        stated_payload_mb=stated_payload,
        batch_strategy=params.transform_batch_strategy or pipeline.transform.batch_strategy,
    )
    return read_known_settings(context.history, context.model.key, space)


def keep_measured_types(pipeline: Pipeline, known: KnownSettings) -> Pipeline:
    """The pipeline with only those types for its transform on which this model was measured."""
    transform = pipeline.transform
    listed = dict.fromkeys((transform.instance_type, *transform.instance_types))
    measured = [name for name in listed if known.choose(name) is not None]
    if not measured:
        return pipeline
    first, *others = measured
    kept = transform.model_copy(update={"instance_type": first, "instance_types": tuple(others)})
    return pipeline.model_copy(update={"transform": kept})


def get_settings(transform: TransformPlan) -> RequestSettings:
    """The settings of a planned transform."""
    return RequestSettings(
        transform.instance_type,
        transform.max_concurrent_transforms,
        transform.max_payload_mb,
        transform.batch_strategy,
    )


def plan_run_trials(
    pipeline: Pipeline,
    known: KnownSettings | None,
    decision: ClusterDecision,
    transform: TransformPlan,
    context: PlanningContext,
    *,
    text_bytes: int,
    object_bytes: float,
    max_jobs: int,
) -> TrialDecision:
    """The trials of a run with `calibrate: explore`; `max_jobs` is the most further jobs that the pipeline allows."""
    if known is None:
        return TrialDecision(
            (), ("Nothing is tried in this run: no transform of this model was measured yet.",)
        )
    stage, goals, plan = decision.cluster_plan.get_stage("transform"), decision.goals, decision.cluster_plan
    rate, limits = stage.option.rate, pipeline.transform
    used = Counter({transform.instance_type: transform.instance_count})
    stage_seconds = stage.seconds + rate.provisioning_seconds

    def is_in_time(seconds: float) -> bool:
        until = goals.seconds_to_deadline
        return (
            until is None
            or plan.compute_seconds_at(goals.confidence) + max(0.0, seconds - stage_seconds) <= until
        )

    dollars_left = None
    if goals.budget is not None:
        dollars_left = 0.0 if decision.approval_reason else goals.budget - (plan.dollars or 0.0)
    run = PlannedRun(
        settings=get_settings(transform),
        dollars=stage.dollars or 0.0,
        text_bytes=text_bytes,
        start_seconds=rate.start_seconds,
        provisioning_seconds=rate.provisioning_seconds,
        dollars_left=dollars_left,
        max_trials=min(MAX_TRIALS, max_jobs, limits.max_instances - transform.instance_count),
        is_in_time=is_in_time,
        has_room=lambda name: has_room_for(context.quotas, "transform", name, used=used),
    )
    space = replace(known.space, object_bytes=object_bytes)
    return plan_trials(replace(known, space=space), pipeline.goals.explore_share, run)
