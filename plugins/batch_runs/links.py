"""Builds links between the pages, to Airflow's own pages and to the AWS console.

URLs within Airflow are relative to the pages, all of which are directly below the app, so that they also work behind a
proxy and under a base URL.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from sqlalchemy.orm import Session

from batch_runs.airflow_state import Run, Task, read_pipeline_place, read_xcoms
from batch_runs.figures import open_storage
from batch_runs.jobs import JOB_TASKS, READ_ERRORS
from sagemaker_jobs.links import build_links

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A link's URL and text."""

    href: str
    text: str


def to_runs(dag_id: str) -> str:
    """The page of a pipeline."""
    return f"runs?{urlencode({'dag_id': dag_id})}"


def to_run(dag_id: str, run_id: str) -> str:
    """The page of a run."""
    return f"run?{urlencode({'dag_id': dag_id, 'run_id': run_id})}"


def to_report(run: Run) -> str:
    """The download of the run's report.html."""
    return f"report?{urlencode({'dag_id': run.dag_id, 'run_id': run.run_id})}"


def to_airflow_dag(dag_id: str) -> str:
    """The DAG in Airflow."""
    return f"../dags/{quote(dag_id, safe='')}"


def to_airflow_run(run: Run) -> str:
    """The run in Airflow."""
    return f"{to_airflow_dag(run.dag_id)}/runs/{quote(run.run_id, safe='')}"


def to_task(run: Run, task: Task) -> str:
    """The task in Airflow, where its log is shown."""
    mapped = "" if task.map_index < 0 else f"/mapped/{task.map_index}"
    return f"{to_airflow_run(run)}/tasks/{quote(task.task_id, safe='')}{mapped}"


def build_console_links_by_stage(session: Session, run: Run) -> Mapping[str, list[Link]]:
    """By stage, links to the job and its logs in the AWS console.

    Empty if the connection's endpoint is not Amazon's: then the jobs are not in that console.
    """
    console_links = [(step, link) for step in JOB_TASKS for link in build_links(step.kind)]
    stored = read_xcoms(session, run, [(step.submit_task, link.key) for step, link in console_links])
    if not stored or not _leads_to_amazon(session, run.dag_id):
        return {}
    found: dict[str, list[Link]] = {step.stage: [] for step in JOB_TASKS}
    for step, link in console_links:
        if isinstance(value := stored.get((step.submit_task, link.key)), Mapping):
            found[step.stage].append(Link(link.format_link(**value), link.name))
    return found


def _leads_to_amazon(session: Session, dag_id: str) -> bool:
    try:
        endpoint = open_storage(read_pipeline_place(session, dag_id)).client.meta.endpoint_url
    except READ_ERRORS as error:
        log.warning("cannot link to the AWS console for %s: %s", dag_id, error)
        return False
    return (urlsplit(str(endpoint)).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
