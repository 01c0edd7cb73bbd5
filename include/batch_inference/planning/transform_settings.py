"""Chooses payload, concurrency, batch strategy and time limits of the requests to the model, and records why."""

from __future__ import annotations

from typing import TypedDict

from batch_inference.common.formatting import format_count, format_duration
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_SECONDS,
    MAX_PAYLOAD_MB_IN_FLIGHT,
    BatchStrategy,
    get_default_max_payload_mb,
)
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.settings_cost import RequestSettings
from batch_inference.planning.plan_log import PlanLog


def _choose(requested: int | None, configured: int | None, default: int, why: str) -> tuple[int, str, str]:
    """The value that applies, who chose it, and why; `why` is that of the default."""
    if requested is not None:
        return requested, "trigger form", f"the trigger form said {requested}"
    if configured is not None:
        return configured, "pipeline", "the pipeline says so"
    return default, "plan", why


#: Why settings that runs and trials have measured are used.
MEASURED_CHEAPEST = "no other was measured to cost less"


def get_max_payload_mb(pipeline: Pipeline, params: RunParams, *, is_inference_pipeline: bool) -> int:
    """MaxPayloadInMB of the transform job, until settings are measured."""
    return _choose_max_payload_mb(pipeline, params, is_inference_pipeline)[0]


def _choose_max_payload_mb(
    pipeline: Pipeline,
    params: RunParams,
    is_inference_pipeline: bool,
    measured: RequestSettings | None = None,
) -> tuple[int, str, str]:
    default = get_default_max_payload_mb(is_inference_pipeline=is_inference_pipeline)
    why = (
        "several containers can hand each other no more"
        if is_inference_pipeline
        else "that is SageMaker's default"
    )
    if measured is not None:
        default, why = measured.max_payload_mb, MEASURED_CHEAPEST
    return _choose(params.transform_max_payload_mb, pipeline.transform.max_payload_mb, default, why)


def choose_max_payload_mb(
    pipeline: Pipeline,
    params: RunParams,
    plan_log: PlanLog,
    *,
    is_inference_pipeline: bool,
    measured: RequestSettings | None = None,
) -> int:
    """MaxPayloadInMB of the transform job, with a sentence that explains it; of `measured` settings, theirs."""
    chosen, chooser, why = _choose_max_payload_mb(pipeline, params, is_inference_pipeline, measured)
    plan_log.record("transform.max_payload_mb", chooser, f"A request holds up to {chosen} MB, because {why}.")
    return chosen


def choose_max_concurrent_transforms(
    pipeline: Pipeline,
    params: RunParams,
    plan_log: PlanLog,
    instance_type: str,
    max_payload_mb: int,
    *,
    measured: RequestSettings | None = None,
) -> int:
    """MaxConcurrentTransforms: requests in flight on each instance, at most 100 MB of them.

    Of settings that were `measured`, theirs.
    """
    default = sizing.compute_max_concurrent_transforms(
        instance_type, max_payload_mb, MAX_PAYLOAD_MB_IN_FLIGHT
    )
    reason = (
        f"that keeps an accelerator such as {instance_type} busy"
        if sizing.is_accelerated(instance_type)
        else f"that is one per vCPU of {instance_type}"
    )
    why = f"{reason}, within SageMaker's 100 MB in flight"
    if measured is not None:
        default, why = measured.max_concurrent_transforms, MEASURED_CHEAPEST
    chosen, chooser, why = _choose(
        params.transform_max_concurrent_transforms,
        pipeline.transform.max_concurrent_transforms,
        default,
        why,
    )
    limit = MAX_PAYLOAD_MB_IN_FLIGHT // max_payload_mb
    if chooser == "pipeline" and chosen > limit:
        why += f", lowered from {chosen} because {chosen} × {max_payload_mb} MB is above SageMaker's 100 MB"
        chosen = limit
    sentence = f"Each instance works on {format_count(chosen, 'request')} at a time, because {why}."
    plan_log.record("transform.max_concurrent_transforms", chooser, sentence)
    return chosen


def choose_batch_strategy(pipeline: Pipeline, params: RunParams, plan_log: PlanLog) -> BatchStrategy:
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


class TimeLimits(TypedDict):
    """Of one try of a request, of its further tries, and of the whole transform."""

    timeout_seconds: int
    retries: int
    max_runtime_seconds: int


def choose_time_limits(pipeline: Pipeline, plan_log: PlanLog) -> TimeLimits:
    """ModelClientConfig of the transform job, and its limit, which lets one request have all of its tries."""
    transform, default_clause = pipeline.transform, "that is SageMaker's default"
    timeout, chooser, why = _choose(None, transform.timeout_seconds, DEFAULT_TIMEOUT_SECONDS, default_clause)
    plan_log.record(
        "transform.timeout_seconds",
        chooser,
        f"SageMaker waits {timeout} s for the answer to a request, because {why}.",
    )
    retries, chooser, why = _choose(None, transform.retries, DEFAULT_RETRIES, default_clause)
    again = f"is sent up to {format_count(retries, 'more time')}" if retries else "is not sent again"
    plan_log.record(
        "transform.retries",
        chooser,
        f"A request without an answer, or with a server error, {again}, because {why}.",
    )
    if transform.environment:
        names = ", ".join(transform.environment)
        plan_log.add(
            f"The model's containers get {names} from transform.environment, over variables of their own."
        )
    configured, needed = transform.max_runtime_minutes * 60, transform.request_seconds
    if configured < needed:
        plan_log.record(
            "transform.max_runtime_seconds",
            "plan",
            f"Transform is stopped after {format_duration(needed)}, not after the {format_duration(configured)} of "
            f"transform.max_runtime_minutes, because one request can take that long: {retries + 1} × {timeout} s by "
            "SageMaker's defaults. To keep the limit, write transform.timeout_seconds or transform.retries.",
        )
    return {"timeout_seconds": timeout, "retries": retries, "max_runtime_seconds": max(configured, needed)}
