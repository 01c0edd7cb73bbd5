"""The janitor: stops jobs and deletes models whose run is no longer active.

For what no teardown reaches: `dagrun_timeout` skips even teardowns, a run may be deleted, a database lost.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from include.orchestration.chain import START
from include.orchestration.pipelines import FOLDER, named
from include.orchestration.templates import DEPLOYMENT_TAG, deployment
from include.scoring.errors import PipelineError
from include.scoring.naming import name_head
from sagemaker_jobs.cleanup import clear_away, collect
from sagemaker_jobs.janitor import leftovers

log = logging.getLogger(__name__)

DAG_ID = "janitor"


def janitor_dag(*, doc_md: str | None = None) -> DAG:
    """A DAG that tidies up every ten minutes, one run at a time. Reads nothing when it is parsed."""
    with DAG(
        dag_id=DAG_ID,
        description="Stops SageMaker jobs and deletes models whose DAG run is over.",
        doc_md=doc_md,
        schedule=timedelta(minutes=10),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=["batch inference janitor"],
    ) as dag:
        PythonOperator(task_id="tidy", python_callable=tidy)
    return dag


def tidy(*, ti: Any, **_: Any) -> list[str]:
    """Stop and delete what is left over; the names.

    Only what carries the tags of this Airflow and of one of its pipelines is judged: several may share an account.
    A pipeline whose file is wrong does not keep the others from being tidied.

    Raises:
        PipelineError: after the others were tidied, for the first file that is wrong.
    """

    def is_active(dag_id: str, run_id: str) -> bool:
        count: int = ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"])
        return count > 0

    done: list[str] = []
    wrong: list[PipelineError] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            pipeline = named(path.stem)
        except PipelineError as error:
            log.warning("not tidied for this pipeline: %s", error)
            wrong.append(error)
            continue
        hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
        ours = [
            each
            for each in collect(hook, name_contains=name_head(pipeline.name))
            if each.tags.get(DEPLOYMENT_TAG) == deployment()
        ]
        found = leftovers(ours, is_active=is_active, now=time.time(), only_dags=pipeline.name.__eq__)
        done += clear_away(hook, found)
    log.info("stopped or deleted: %s", ", ".join(done) or "nothing")
    if wrong:
        raise wrong[0]
    return done
