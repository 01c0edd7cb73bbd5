"""The operators' `config`: SageMaker's requests with this run's numbers as template expressions.

The requests themselves are built in `batch_inference.requests.sagemaker`, which `plan`'s checks call with plain
numbers.
"""

from __future__ import annotations

from typing import Any

from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.templates import (
    DEPLOYMENT_TAG,
    template_calibration_value,
    template_instance_types,
    template_job_name,
    template_mapped_job_value,
    template_plan_value,
    template_shard_stat,
    template_shared_job_name,
)
from batch_inference.requests import sagemaker
from batch_inference.run.task_ids import AWAIT_PREPROCESS, CHOOSE_JOIN
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_ID_TAG, RUN_TAG

RUN_PREFIX = template_plan_value("run_prefix")
#: Tags of jobs and models that name their run: for AWS's bill, and to clean up after a lost run.
TAGS = {
    RUN_TAG: "{{ run_tag(run_id) }}",
    RUN_ID_TAG: "{{ tag_value(run_id) }}",
    DAG_TAG: "{{ dag.dag_id }}",
    DEPLOYMENT_TAG: "{{ deployment() }}",
    "model": template_plan_value("model.key"),
}


def build_processing_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateProcessingJob of `preprocess`."""
    return sagemaker.build_preprocess_request(
        pipeline,
        sagemaker.ProcessingValues(
            job_name=template_job_name("preprocess"),
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            instance_type=template_plan_value("preprocess.instance_type"),
            instance_count=template_plan_value("preprocess.instance_count"),
            volume_size_gb=template_plan_value("preprocess.volume_size_gb"),
            max_runtime_seconds=template_plan_value("preprocess.max_runtime_seconds"),
        ),
    )


def build_join_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateProcessingJob of `join_job`."""
    return sagemaker.build_join_request(
        pipeline,
        sagemaker.ProcessingValues(
            job_name=template_job_name("join"),
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            instance_type=template_plan_value("join.job.instance_type"),
            instance_count=_template_join_job_value("instance_count"),
            volume_size_gb=template_plan_value("join.job.volume_size_gb"),
            max_runtime_seconds=template_plan_value("join.job.max_runtime_seconds"),
        ),
        _template_join_job_value("inputs"),
    )


def _template_join_job_value(key: str) -> str:
    """Template of a value that `choose_join` pushed for the job."""
    return f"{{{{ pull_xcom(ti, '{CHOOSE_JOIN}', 'job').{key} }}}}"


def build_transform_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateTransformJob of `transform`, and CreateModel where the pipeline lists containers."""
    preprocess_paths = RunPaths(RUN_PREFIX).build_job_paths(
        f"{{{{ pull_xcom(ti, '{AWAIT_PREPROCESS}').job_name }}}}"
    )
    if pipeline.goals.calibrate == "canary":
        return _build_transform_config(
            pipeline,
            preprocess_paths.features,
            template_calibration_value("instance_count"),
            template_job_name("model"),
            instance_type=template_calibration_value("instance_types[0]"),
        )
    # As many instances as planned, but no more than there are shards without the rejects.
    return _build_transform_config(
        pipeline,
        preprocess_paths.features,
        template_shard_stat("transform_instance_count"),
        template_job_name("model"),
    )


def template_transform_types(pipeline: Pipeline) -> str:
    """Template of the transform's instance types, the canary's type first when there is a canary."""
    if pipeline.goals.calibrate == "canary":
        return template_calibration_value("instance_types | join(' ')")
    return template_instance_types("transform")


def build_canary_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateTransformJob of the canary shard, on one instance."""
    preprocess_paths = RunPaths(RUN_PREFIX).build_job_paths(
        f"{{{{ pull_xcom(ti, '{AWAIT_PREPROCESS}').job_name }}}}"
    )
    return _build_transform_config(pipeline, preprocess_paths.canary, "1", template_job_name("model"))


def build_mapped_transform_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateTransformJob of one mapped job, which reads the input by its manifest; all share one model."""
    return _build_transform_config(
        pipeline,
        template_mapped_job_value("manifest"),
        template_mapped_job_value("instance_count"),
        template_shared_job_name("model"),
    )


def _build_transform_config(
    pipeline: Pipeline,
    features_uri: str,
    instance_count: str,
    model_name: str,
    *,
    instance_type: str = template_plan_value("transform.instance_type"),
) -> dict[str, Any]:
    return sagemaker.build_transform_config(
        pipeline,
        sagemaker.TransformValues(
            job_name=template_job_name("transform"),
            model_name=model_name,
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            source_uri=features_uri,
            instance_type=instance_type,
            instance_count=instance_count,
            max_concurrent_transforms=template_plan_value("transform.max_concurrent_transforms"),
            max_payload_mb=template_plan_value("transform.max_payload_mb"),
            batch_strategy=template_plan_value("transform.batch_strategy"),
            model_package=template_plan_value("model.package"),
        ),
    )
