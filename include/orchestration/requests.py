"""The operators' `config`: SageMaker's requests with this run's numbers as template expressions.

The requests themselves are built in `include.scoring.requests`, which `plan`'s checks call with plain numbers.
"""

from __future__ import annotations

from typing import Any

from include.orchestration.names import JOINING, PREPROCESSED
from include.orchestration.templates import (
    DEPLOYMENT_TAG,
    from_calibration,
    from_manifests,
    from_plan,
    from_shards,
    name_of_job,
    shared_name,
    types_from_plan,
)
from include.scoring import requests
from include.scoring.config import Pipeline
from include.scoring.naming import RunPaths
from sagemaker_jobs.janitor import DAG_TAG, RUN_ID_TAG, RUN_TAG

RUN_PREFIX = from_plan("run_prefix")
#: Jobs and models say which run they belong to, for AWS's bill and for finding what a lost run left behind.
TAGS = {
    RUN_TAG: "{{ run_tag(run_id) }}",
    RUN_ID_TAG: "{{ tag_value(run_id) }}",
    DAG_TAG: "{{ dag.dag_id }}",
    DEPLOYMENT_TAG: "{{ deployment() }}",
    "model": from_plan("model.key"),
}


def processing_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateProcessingJob of `preprocess`."""
    return requests.processing_request(
        pipeline,
        requests.ProcessingValues(
            job_name=name_of_job("preprocess"),
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            instance_type=from_plan("preprocess.instance_type"),
            instance_count=from_plan("preprocess.instance_count"),
            volume_size_gb=from_plan("preprocess.volume_size_gb"),
            max_runtime_seconds=from_plan("preprocess.max_runtime_seconds"),
        ),
    )


def join_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateProcessingJob of `join_job`."""
    return requests.join_request(
        pipeline,
        requests.ProcessingValues(
            job_name=name_of_job("join"),
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            instance_type=from_plan("join.job.instance_type"),
            instance_count=_from_joining("instance_count"),
            volume_size_gb=from_plan("join.job.volume_size_gb"),
            max_runtime_seconds=from_plan("join.job.max_runtime_seconds"),
        ),
        _from_joining("inputs"),
    )


def _from_joining(key: str) -> str:
    """What `joining` decided about the job."""
    return f"{{{{ handed_on(ti, '{JOINING}', 'job').{key} }}}}"


def transform_config(pipeline: Pipeline) -> dict[str, Any]:
    """CreateTransformJob of `transform`, and CreateModel where the pipeline lists containers."""
    wrote = RunPaths(RUN_PREFIX).job(f"{{{{ handed_on(ti, '{PREPROCESSED}').job_name }}}}")
    if pipeline.goals.calibrate == "canary":
        return _transform_config(
            pipeline,
            wrote.features,
            from_calibration("instance_count"),
            name_of_job("model"),
            instance_type=from_calibration("instance_types[0]"),
        )
    # As many as planned, but never more than there are shards after the rejects are gone.
    return _transform_config(
        pipeline, wrote.features, from_shards("transform_instance_count"), name_of_job("model")
    )


def transform_types(pipeline: Pipeline) -> str:
    """The instance types on which the transform may run, the canary's first where there is one."""
    if pipeline.goals.calibrate == "canary":
        return from_calibration("instance_types | join(' ')")
    return types_from_plan("transform")


def canary_config(pipeline: Pipeline) -> dict[str, Any]:
    """The same for the one shard that was set aside, on one instance."""
    wrote = RunPaths(RUN_PREFIX).job(f"{{{{ handed_on(ti, '{PREPROCESSED}').job_name }}}}")
    return _transform_config(pipeline, wrote.canary, "1", name_of_job("model"))


def direct_transform_config(pipeline: Pipeline) -> dict[str, Any]:
    """The same for one of the mapped jobs that read the input by manifests; they share the model."""
    return _transform_config(
        pipeline, from_manifests("manifest"), from_manifests("instance_count"), shared_name("model")
    )


def _transform_config(
    pipeline: Pipeline,
    source: str,
    instance_count: str,
    model_name: str,
    *,
    instance_type: str = from_plan("transform.instance_type"),
) -> dict[str, Any]:
    return requests.transform_config(
        pipeline,
        requests.TransformValues(
            job_name=name_of_job("transform"),
            model_name=model_name,
            run_prefix=RUN_PREFIX,
            tags=TAGS,
            features_uri=source,
            instance_type=instance_type,
            instance_count=instance_count,
            max_concurrent_transforms=from_plan("transform.max_concurrent_transforms"),
            max_payload_mb=from_plan("transform.max_payload_mb"),
            batch_strategy=from_plan("transform.batch_strategy"),
            model_package=from_plan("model.package"),
        ),
    )
