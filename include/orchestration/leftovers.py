"""Cleans up a run's jobs and models, found by tag: after `plan` has run again, their names differ."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.orchestration.templates import DEPLOYMENT_TAG, compute_deployment_id
from include.scoring.naming import build_name_prefix
from sagemaker_jobs.cleanup import clean_up_leftovers, list_run_resources
from sagemaker_jobs.janitor import DAG_TAG, RUN_TAG, Action, Leftover, to_run_tag


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
