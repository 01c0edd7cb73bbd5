"""What a run has at AWS by the tags that name it, whatever it is called: after `plan` was made anew, names differ."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.orchestration.templates import DEPLOYMENT_TAG, deployment
from include.scoring.naming import name_head
from sagemaker_jobs.cleanup import clear_away, collect
from sagemaker_jobs.janitor import DAG_TAG, RUN_TAG, Action, Leftover, run_tag


def clear_run(hook: SageMakerHook, pipeline: str, *, dag_id: str, run_id: str, because: str) -> list[str]:
    """Stop the jobs and delete the models whose tags name this run of this Airflow; their names."""
    tags = {DAG_TAG: dag_id, RUN_TAG: run_tag(run_id), DEPLOYMENT_TAG: deployment()}
    return clear_away(
        hook,
        [
            Leftover(each, Action.DELETE if each.kind is None else Action.STOP, because)
            for each in collect(hook, name_begins=name_head(pipeline))
            if tags.items() <= each.tags.items()
        ],
    )
