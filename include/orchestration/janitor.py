"""The janitor: stops jobs and deletes models whose run is no longer active, part files that were replaced or that no
run will publish, and run files past their keeping time.

For what no teardown reaches: `dagrun_timeout` skips even teardowns, a run may be deleted, a database lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from include.orchestration.keeping import prune
from include.orchestration.names import PLAN
from include.orchestration.output_cleanup import activity, clean_outputs
from include.orchestration.pipelines import FOLDER, named
from include.orchestration.storage import Storage
from include.orchestration.templates import DEPLOYMENT_TAG, deployment
from include.scoring.config import Pipeline
from include.scoring.naming import name_head
from sagemaker_jobs.cleanup import clear_away, collect
from sagemaker_jobs.janitor import leftovers, run_tag

log = logging.getLogger(__name__)

DAG_ID = "janitor"
EVERY = timedelta(minutes=10)
#: How old a job must be to be stopped: a run that is over has a `clean_up` of its own, which needs its time.
GRACE_SECONDS = 300.0


def janitor_dag(*, doc_md: str | None = None, grace_seconds: float = GRACE_SECONDS) -> DAG:
    """A DAG that tidies up every ten minutes, one run at a time. Reads nothing when it is parsed."""
    with DAG(
        dag_id=DAG_ID,
        description="Stops SageMaker jobs, and deletes models and files, whose DAG run is over.",
        doc_md=doc_md,
        schedule=EVERY,
        catchup=False,
        max_active_runs=1,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["batch inference janitor"],
    ) as dag:
        PythonOperator(task_id="tidy", python_callable=tidy, op_kwargs={"grace_seconds": grace_seconds})
        PythonOperator(task_id="outputs", python_callable=clean_published)
        PythonOperator(task_id="prune", python_callable=prune_runs)
    return dag


def tidy(*, ti: Any, grace_seconds: float = GRACE_SECONDS, **_: Any) -> list[str]:
    """Stop the jobs and delete the models that are left over; their names.

    Only what carries the tags of this Airflow and of one of its pipelines is judged: several may share an account.

    Raises:
        Exception: see `for_each_pipeline`.
    """

    def of(pipeline: Pipeline) -> list[str]:
        hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
        ours = [
            each
            for each in collect(hook, name_begins=name_head(pipeline.name))
            if each.tags.get(DEPLOYMENT_TAG) == deployment()
        ]
        found = leftovers(
            ours,
            is_active=activity_by_tag(ti),
            now=time.time(),
            grace_seconds=grace_seconds,
            only_dags=pipeline.name.__eq__,
        )
        return clear_away(hook, found)

    return for_each_pipeline(of)


def prune_runs(*, ti: Any, dag_run: Any, **_: Any) -> list[str]:
    """Delete the files of runs past their pipeline's `keep_runs_days`; their prefixes.

    Once an hour, and in each run by hand: it lists the work prefixes, which costs, and nothing about it is urgent.

    Raises:
        Exception: see `for_each_pipeline`.
    """
    if dag_run.run_type != "manual" and dag_run.run_after.minute >= EVERY.total_seconds() / 60:
        raise AirflowSkipException("run files are looked at in the first minutes of each hour")

    def of(pipeline: Pipeline) -> list[str]:
        storage = Storage(pipeline.aws_conn_id, pipeline.region)
        return prune(storage, pipeline, is_active=activity(ti), now=time.time())

    return for_each_pipeline(of)


def clean_published(*, ti: Any, **_: Any) -> list[str]:
    """Delete the part files below outputs that were replaced, or that no manifest will name; their URIs.

    Raises:
        Exception: see `for_each_pipeline`.
    """

    def of(pipeline: Pipeline) -> list[str]:
        storage = Storage(pipeline.aws_conn_id, pipeline.region)
        return clean_outputs(storage, pipeline, is_active=activity(ti), now=time.time())

    return for_each_pipeline(of)


def activity_by_tag(ti: Any) -> Callable[[str, str], bool]:
    """Asks Airflow whether the run of a DAG that has this tag is queued or running.

    Airflow finds runs by their ids only. Those that it has are read when the first tag of a DAG is asked for: after the
    jobs were listed, so that the run of each of them is among them.
    """
    is_active = activity(ti)
    run_ids: dict[str, dict[str, str]] = {}

    def has_active_run(dag_id: str, tag: str) -> bool:
        if dag_id not in run_ids:
            # One task instance for each run.
            states = ti.get_task_states(dag_id=dag_id, task_ids=[PLAN])
            run_ids[dag_id] = {run_tag(run_id): run_id for run_id in states}
        run_id = run_ids[dag_id].get(tag)
        return run_id is not None and is_active(dag_id, run_id)

    return has_active_run


def for_each_pipeline(work: Callable[[Pipeline], list[str]]) -> list[str]:
    """What `work` did for each pipeline, together. One that goes wrong does not keep the others from their turn.

    Raises:
        Exception: after the others had theirs, the first that was met: PipelineError for a file that is wrong, or what
            AWS refused.
    """
    done: list[str] = []
    wrong: list[Exception] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            done += work(named(path.stem))
        except Exception as error:
            log.exception("%s: not all was done for this pipeline", path.stem)
            wrong.append(error)
    log.info("stopped or deleted: %s", ", ".join(done) or "nothing")
    if wrong:
        raise wrong[0]
    return done
