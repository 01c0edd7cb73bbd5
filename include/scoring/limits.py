"""What a typed param may not exceed, checked before anything is planned."""

from __future__ import annotations

from include.scoring.config import Pipeline
from include.scoring.errors import ParamsError
from include.scoring.params import RunParams
from include.scoring.sections import MAX_PAYLOAD_TIMES_CONCURRENCY, PIPELINE_MAX_PAYLOAD_MB


def check_limits(pipeline: Pipeline, params: RunParams) -> None:
    """Raise ParamsError when typed params exceed the pipeline's limits or SageMaker's."""
    problems = [*_instances(pipeline, params), *_payload(pipeline, params), *_in_flight(pipeline, params)]
    if problems:
        raise ParamsError(tuple(problems))


def _instances(pipeline: Pipeline, params: RunParams) -> list[str]:
    stages = [("transform", params.transform_instance_count, pipeline.transform.max_instances)]
    if pipeline.preprocess is not None:
        stages.insert(0, ("preprocess", params.preprocess_instance_count, pipeline.preprocess.max_instances))
    return [
        f"{stage}_instance_count: found {asked}; allowed is at most {most}, as {stage}.max_instances of "
        f"the pipeline {pipeline.name}"
        for stage, asked, most in stages
        if asked is not None and asked > most
    ]


def _payload(pipeline: Pipeline, params: RunParams) -> list[str]:
    asked = params.transform_max_payload_mb
    if asked is None or not pipeline.model.is_serial_pipeline or asked <= PIPELINE_MAX_PAYLOAD_MB:
        return []
    problem = (
        f"transform_max_payload_mb: found {asked}; allowed is at most {PIPELINE_MAX_PAYLOAD_MB}, because the "
        f"model has {len(pipeline.model.containers)} containers and requests between them are limited to 5 MB"
    )
    return [problem]


def _in_flight(pipeline: Pipeline, params: RunParams) -> list[str]:
    payload = params.transform_max_payload_mb or pipeline.max_payload_mb
    concurrent = params.transform_max_concurrent
    if concurrent is None or payload * concurrent <= MAX_PAYLOAD_TIMES_CONCURRENCY:
        return []
    problem = (
        f"transform_max_concurrent: found {concurrent} times {payload} MB per request = {payload * concurrent} MB "
        f"in flight; SageMaker allows at most {MAX_PAYLOAD_TIMES_CONCURRENCY}; write "
        f"{MAX_PAYLOAD_TIMES_CONCURRENCY // payload} or less, or lower the MB per request"
    )
    return [problem]
