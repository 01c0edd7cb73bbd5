"""Cleans up after runs: one run's jobs and models by tag, and the janitor DAG for all that inactive runs left.

The janitor also notifies of late runs: it goes on whatever a run waits for, and its next run makes up for one that was
lost.

The janitor stops jobs and deletes models, obsolete part files and expired run files. It covers what no teardown
reaches: `dagrun_timeout` skips teardowns, runs are deleted, databases are lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import PipelineError
from batch_inference.common.names import build_name_prefix, build_name_token
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import get_pipelines_folder, read_pipelines, register_folder
from batch_inference.dag.pipelines_folder import find_pipelines_folder, get_calling_file
from batch_inference.dag.task_functions import import_on_call
from batch_inference.dag.templates import DEPLOYMENT_TAG, build_cleanup_tags, compute_deployment_id
from batch_inference.publishing.output_cleanup import build_is_run_active, delete_obsolete_parts
from batch_inference.publishing.retention import delete_expired_runs
from batch_inference.run.task_ids import PLAN
from sagemaker_jobs.airflow_compat import AirflowSkipException
from sagemaker_jobs.cleanup import run_cleanup
from sagemaker_jobs.cleanup.janitor import find_leftovers, to_run_tag
from sagemaker_jobs.cleanup.run_cleanup import clean_up_leftovers, list_running_jobs_and_models

log = logging.getLogger(__name__)

DAG_ID = "janitor"
INTERVAL = timedelta(minutes=5)
#: Grace period: the age at which a job may be stopped, so that the run's own `clean_up` comes first.
GRACE_SECONDS = 300.0


def build_janitor_dag(
    folder: str | Path | None = None, *, doc_md: str | None = None, grace_seconds: float = GRACE_SECONDS
) -> DAG:
    """A DAG that looks after all pipelines below `folder` every five minutes, one run at a time.

    It notifies of late runs, and cleans up after runs that are over.

    Reads no file when it is parsed. See `pipeline_dags` for `folder`.
    """
    register_folder(DAG_ID, find_pipelines_folder(folder, get_calling_file()))
    with DAG(
        dag_id=DAG_ID,
        description="Notifies of late runs; stops jobs, and deletes models and files, whose DAG run is over.",
        doc_md=doc_md,
        schedule=INTERVAL,
        catchup=False,
        max_active_runs=1,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["batch inference janitor"],
    ) as dag:
        args = {"grace_seconds": grace_seconds}
        PythonOperator(
            task_id="notify_of_late_runs",
            python_callable=import_on_call("batch_inference.dag.late_runs:notify_of_late_runs"),
        )
        PythonOperator(task_id="clean_up_jobs", python_callable=clean_up_jobs, op_kwargs=args)
        PythonOperator(task_id="clean_up_outputs", python_callable=clean_up_outputs)
        PythonOperator(task_id="apply_retention", python_callable=apply_retention)
    return dag


def clean_up_jobs(*, ti: Any, grace_seconds: float = GRACE_SECONDS, **_: Any) -> list[str]:
    """Stop the jobs and delete the models of runs that are not active; returns their names.

    Considers only those with the tags of this Airflow deployment and of its pipelines: deployments may share an
    account.

    Raises:
        Exception: see `for_each_pipeline`.
    """

    def clean_up_pipeline(pipeline: Pipeline) -> list[str]:
        hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
        resources = list_running_jobs_and_models(hook, name_prefix=build_name_prefix(pipeline.name))
        deployment = compute_deployment_id()
        found = find_leftovers(
            [each for each in resources if each.tags.get(DEPLOYMENT_TAG) == deployment],
            is_run_tag_active=build_is_run_tag_active(ti),
            now=time.time(),
            grace_seconds=grace_seconds,
            is_own_dag=pipeline.name.__eq__,
        )
        return clean_up_leftovers(hook, found)

    return for_each_pipeline(clean_up_pipeline)


def clean_up_run(
    pipeline: str,
    *,
    aws_conn_id: str | None,
    region: str | None,
    dag_id: str,
    run_id: str,
    reason: str,
    nonce: str | None = None,
) -> list[str]:
    """Stop the jobs and delete the models of a run of this Airflow; their names.

    They are found by the run in their tags: when `plan` was cleared or failed, the jobs of an earlier plan have other
    names. With the `nonce` of the plan, also by its token in their names, where the role may not read tags.
    """
    hook = SageMakerHook(aws_conn_id=aws_conn_id, region_name=region)  # type: ignore[no-untyped-call]
    return run_cleanup.clean_up_run(
        hook,
        name_prefix=build_name_prefix(pipeline),
        tags=build_cleanup_tags(dag_id, run_id),
        because=reason,
        name_part=None if nonce is None else build_name_token(nonce),
    )


def apply_retention(*, ti: Any, dag_run: Any, **_: Any) -> list[str]:
    """Delete the files of runs older than their pipeline's `keep_runs_days`; returns their prefixes.

    Once an hour, and in each manual run: listing the work prefixes costs money, and nothing about it is urgent.

    Raises:
        Exception: see `for_each_pipeline`.
    """
    if dag_run.run_type != "manual" and dag_run.run_after.minute >= INTERVAL.total_seconds() / 60:
        raise AirflowSkipException("retention runs in the first minutes of each hour")

    return for_each_pipeline(partial(_clean_up_storage, delete_expired_runs, ti))


def clean_up_outputs(*, ti: Any, **_: Any) -> list[str]:
    """Delete obsolete part files below the pipelines' outputs; returns their URIs.

    Raises:
        Exception: see `for_each_pipeline`.
    """
    return for_each_pipeline(partial(_clean_up_storage, delete_obsolete_parts, ti))


def _clean_up_storage(function: Callable[..., list[str]], ti: Any, pipeline: Pipeline) -> list[str]:
    storage = Storage(pipeline.aws_conn_id, pipeline.region)
    return function(storage, pipeline, is_active=build_is_run_active(ti), now=time.time())


def build_is_run_tag_active(ti: Any) -> Callable[[str, str], bool]:
    """A function that asks Airflow whether the run of a DAG that has this tag is queued or running.

    Airflow finds runs by id only. The ids of a DAG are read when its first tag is asked for: after the jobs were
    listed, so the run of each of them is included.
    """
    is_run_active = build_is_run_active(ti)
    run_ids: dict[str, dict[str, str]] = {}

    def is_run_tag_active(dag_id: str, tag: str) -> bool:
        if dag_id not in run_ids:
            # One task instance for each run.
            states = ti.get_task_states(dag_id=dag_id, task_ids=[PLAN])
            run_ids[dag_id] = {to_run_tag(run_id): run_id for run_id in states}
        run_id = run_ids[dag_id].get(tag)
        return run_id is not None and is_run_active(dag_id, run_id)

    return is_run_tag_active


def for_each_pipeline(action: Callable[[Pipeline], list[str]]) -> list[str]:
    """Call `action` for each pipeline and join the results; an error in one does not stop the others.

    Raises:
        Exception: the first error, after all pipelines were tried: PipelineError for an invalid file, or an error of
            AWS.
    """
    done: list[str] = []
    errors: list[Exception] = []
    for name, _, found in read_pipelines(get_pipelines_folder(DAG_ID)):
        try:
            if isinstance(found, PipelineError):
                raise found
            done += action(found)
        except Exception as error:
            log.exception("%s: this could not be done for the pipeline", name)
            errors.append(error)
    log.info("stopped, deleted or notified of: %s", ", ".join(done) or "nothing")
    if errors:
        raise errors[0]
    return done
