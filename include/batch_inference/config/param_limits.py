"""Checks the params of a run against the limits of its pipeline and of SageMaker."""

from __future__ import annotations

from batch_inference.common.errors import ParamsError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.sections.stages import INFERENCE_PIPELINE_MAX_PAYLOAD_MB, MAX_PAYLOAD_MB_IN_FLIGHT


def check_param_limits(pipeline: Pipeline, params: RunParams) -> None:
    """Raise ParamsError when params exceed the pipeline's limits or SageMaker's."""
    problems = [*_instances(pipeline, params), *_payload(pipeline, params), *_in_flight(pipeline, params)]
    if problems:
        raise ParamsError(tuple(problems))


def _instances(pipeline: Pipeline, params: RunParams) -> list[str]:
    stages = [("transform", params.transform_instance_count, pipeline.transform.max_instances)]
    if pipeline.preprocess is not None:
        stages.insert(0, ("preprocess", params.preprocess_instance_count, pipeline.preprocess.max_instances))
    return [
        f"{stage}_instance_count: found {instance_count}; allowed is at most {max_instances}, as "
        f"{stage}.max_instances of the pipeline {pipeline.name}"
        for stage, instance_count, max_instances in stages
        if instance_count is not None and instance_count > max_instances
    ]


def _payload(pipeline: Pipeline, params: RunParams) -> list[str]:
    max_payload_mb = params.transform_max_payload_mb
    if (
        max_payload_mb is None
        or not pipeline.model.is_inference_pipeline
        or max_payload_mb <= INFERENCE_PIPELINE_MAX_PAYLOAD_MB
    ):
        return []
    problem = (
        f"transform_max_payload_mb: found {max_payload_mb}; allowed is at most "
        f"{INFERENCE_PIPELINE_MAX_PAYLOAD_MB}, because the model has {len(pipeline.model.containers)} containers "
        "and requests between them are limited to 5 MB"
    )
    return [problem]


def _in_flight(pipeline: Pipeline, params: RunParams) -> list[str]:
    max_payload_mb = params.transform_max_payload_mb or pipeline.max_payload_mb
    max_concurrent_transforms = params.transform_max_concurrent_transforms
    if (
        max_concurrent_transforms is None
        or max_payload_mb * max_concurrent_transforms <= MAX_PAYLOAD_MB_IN_FLIGHT
    ):
        return []
    problem = (
        f"transform_max_concurrent_transforms: found {max_concurrent_transforms} times {max_payload_mb} MB per request "
        f"= {max_payload_mb * max_concurrent_transforms} MB in flight; SageMaker allows at most "
        f"{MAX_PAYLOAD_MB_IN_FLIGHT}; write {MAX_PAYLOAD_MB_IN_FLIGHT // max_payload_mb} or less, or lower the MB "
        "per request"
    )
    return [problem]
