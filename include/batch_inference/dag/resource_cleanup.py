"""Cleans up a run's jobs and models, found by tag: after `plan` has run again, their names differ."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.common.names import build_name_prefix
from batch_inference.dag.templates import DEPLOYMENT_TAG, compute_deployment_id
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_TAG, Action, Leftover, to_run_tag
from sagemaker_jobs.cleanup.run_cleanup import clean_up_leftovers, list_run_resources


def clean_up_run(hook: SageMakerHook, pipeline: str, *, dag_id: str, run_id: str, reason: str) -> list[str]:
    """Stop the jobs and delete the models whose tags name this run of this Airflow; their names."""
    tags = {DAG_TAG: dag_id, RUN_TAG: to_run_tag(run_id), DEPLOYMENT_TAG: compute_deployment_id()}
    return clean_up_leftovers(
        hook,
        [
            Leftover(each, Action.DELETE if each.kind is None else Action.STOP, reason)
            for each in list_run_resources(hook, name_prefix=build_name_prefix(pipeline))
            if tags.items() <= each.tags.items()
        ],
    )
