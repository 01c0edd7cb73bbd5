"""Builds links between the pages, to Airflow's own pages and to the AWS console.

URLs within Airflow are relative to the pages, all of which are directly below the app, so that they also work behind a
proxy and under a base URL.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink
from sqlalchemy.orm import Session

from batch_runs.airflow_state import PipelinePlace, Run, read_mapped_xcoms
from batch_runs.jobs import JOB_TASKS, READ_ERRORS
from batch_runs.pipeline_storage import open_storage
from sagemaker_jobs.links import build_links

log = logging.getLogger(__name__)


class TaskInstanceKey(Protocol):
    """What names a task instance within its run; `map_index` is -1 for a task that is not mapped."""

    @property
    def task_id(self) -> str: ...
    @property
    def map_index(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A link's URL and text."""

    href: str
    text: str


def to_runs(dag_id: str, **filters: str | int) -> str:
    """The page of a pipeline, with those `filters` of its runs that are not empty."""
    return f"runs?{urlencode({'dag_id': dag_id, **{key: value for key, value in filters.items() if value}})}"


def to_costs(month: str, team: str | None = None) -> str:
    """The costs of all pipelines in a month, or of those of a team."""
    return f"costs?{_encode_costs(month, team)}"


def to_costs_csv(month: str, team: str | None = None) -> str:
    """The download of `to_costs`, by pipeline and day."""
    return f"costs.csv?{_encode_costs(month, team)}"


def _encode_costs(month: str, team: str | None) -> str:
    return urlencode({"month": month, **({} if team is None else {"team": team})})


def to_run(dag_id: str, run_id: str) -> str:
    """The page of a run."""
    return f"run?{urlencode({'dag_id': dag_id, 'run_id': run_id})}"


def to_file(run: Run, name: str) -> str:
    """The download of a file of the run, one of `run_files.MEDIA_TYPES`."""
    return f"file?{urlencode({'dag_id': run.dag_id, 'run_id': run.run_id, 'name': name})}"


def to_airflow_dag(dag_id: str) -> str:
    """The DAG in Airflow."""
    return f"../dags/{quote(dag_id, safe='')}"


def to_airflow_run(run: Run) -> str:
    """The run in Airflow."""
    return f"{to_airflow_dag(run.dag_id)}/runs/{quote(run.run_id, safe='')}"


def to_task(run: Run, task: TaskInstanceKey) -> str:
    """The task in Airflow, where its log is shown."""
    mapped = "" if task.map_index < 0 else f"/mapped/{task.map_index}"
    return f"{to_airflow_run(run)}/tasks/{quote(task.task_id, safe='')}{mapped}"


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link to the AWS console as a task stored it: the stage of its job, the task instance, and the link."""

    stage: str
    task_id: str
    map_index: int
    link: Link


def read_console_links(session: Session, run: Run) -> list[StoredLink]:
    """Links to the jobs of a run and their logs in the AWS console, in the order of the stages."""
    found = read_mapped_xcoms(session, run, [(task, link.key) for _, task, link in _list_console_links()])
    return [
        StoredLink(stage, task, map_index, Link(link.format_link(**value), link.name))
        for stage, task, link in _list_console_links()
        for map_index, value in sorted(found.get((task, link.key), {}).items())
        if isinstance(value, Mapping)
    ]


def _list_console_links() -> list[tuple[str, str, BaseAwsLink]]:
    """Stage, task and link of each link that the tasks of a run may store."""
    return [
        (step.stage, task, link)
        for step in JOB_TASKS
        for task in (step.submit_task, step.wait_task)
        for link in build_links(step.kind)
    ]


def group_by_stage(links: Iterable[StoredLink]) -> Mapping[str, list[Link]]:
    """By stage, the links to its jobs, each once; without those of mapped tasks, which may be hundreds."""
    found: dict[str, list[Link]] = {}
    for each in links:
        if each.map_index < 0 and each.link not in (of_stage := found.setdefault(each.stage, [])):
            of_stage.append(each.link)
    return found


def leads_to_amazon(place: PipelinePlace) -> bool:
    """Whether the pipeline's connection leads to Amazon's AWS; otherwise its jobs are not in the AWS console."""
    try:
        endpoint = open_storage(place).client.meta.endpoint_url
    except READ_ERRORS as error:
        log.warning("cannot link to the AWS console with %s: %s", place.aws_conn_id, error)
        return False
    return (urlsplit(str(endpoint)).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
