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
        tags=["batch inference"],
    ) as dag:
        PythonOperator(task_id="tidy", python_callable=tidy)
    return dag


def tidy(*, ti: Any, **_: Any) -> dict[str, list[str]]:
    """Stop and delete what is left over, by connection; the names.

    Only resources that carry the tags of a run of one of this folder's pipelines are judged: an account may be shared
    by several Airflows.
    """
    pipelines = {path.stem: named(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}
    ours = {pipeline.name for pipeline in pipelines.values()}

    def is_active(dag_id: str, run_id: str) -> bool:
        count: int = ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"])
        return count > 0

    done: dict[str, list[str]] = {}
    for connection in sorted({pipeline.aws_conn_id for pipeline in pipelines.values()}):
        hook = SageMakerHook(aws_conn_id=connection)  # type: ignore[no-untyped-call]  # the provider's
        found = leftovers(collect(hook), is_active=is_active, now=time.time(), only_dags=ours.__contains__)
        done[connection] = clear_away(hook, found)
        log.info("%s: %d left over", connection, len(found))
    return done
