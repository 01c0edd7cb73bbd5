"""Cleans up a run's jobs and models, found by tag: after `plan` has run again, their names differ."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.common.names import build_name_prefix
from batch_inference.dag.templates import DEPLOYMENT_TAG, compute_deployment_id
from sagemaker_jobs.cleanup import run_cleanup
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_TAG, to_run_tag


def clean_up_run(
    hook: SageMakerHook, pipeline: str, *, dag_id: str, run_id: str, reason: str, name_part: str | None = None
) -> list[str]:
    """Stop the jobs and delete the models whose tags name this run of this Airflow, or whose names have `name_part`.

    Returns their names.
    """
    return run_cleanup.clean_up_run(
        hook,
        name_prefix=build_name_prefix(pipeline),
        tags={DAG_TAG: dag_id, RUN_TAG: to_run_tag(run_id), DEPLOYMENT_TAG: compute_deployment_id()},
        because=reason,
        name_part=name_part,
    )
