"""Finds leftovers: jobs and models whose DAG run is over. Decides only, calls nothing.

Covers what ``on_kill``, timeouts and teardowns miss: ``dagrun_timeout`` skips teardowns, a run may be deleted, a
database lost. Considers only resources that carry the tags of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagemaker_jobs.kinds import RUNNING_STATUSES, JobKind

DAG_TAG = "airflow:dag-id"
#: The run, as the value that ``to_run_tag`` returns.
RUN_TAG = "airflow:run"
#: The run's id in readable form, as far as AWS accepts it; for people only.
RUN_ID_TAG = "airflow:run-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A job or a model, from AWS's List and ListTags.

    Attributes:
        name: its name.
        kind: processing or transform; None for a model.
        status: of a job; None for a model.
        created_at: epoch seconds.
        tags: its tags; {} if they could not be read: then it is never a leftover.
    """

    name: str
    kind: JobKind | None
    status: str | None
    created_at: float
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A job to stop or a model to delete, and why, as a sentence for the log."""

    resource: Resource
    because: str


def to_run_tag(run_id: str) -> str:
    """The value of ``RUN_TAG`` for a run id: its digest, since tags limit both characters and length.

    A truncated id would match no run, and a live job would look like a leftover.
    """
    return hashlib.sha256(run_id.encode()).hexdigest()[:32]


def find_leftovers(
    resources: Iterable[Resource],
    *,
    is_run_tag_active: Callable[[str, str], bool],
    now: float,
    grace_seconds: float = 300.0,
    model_grace_seconds: float = 3600.0,
    is_own_dag: Callable[[str], bool] = lambda _: True,
) -> list[Leftover]:
    """The resources whose run is over, in the order of ``resources``.

    ``is_run_tag_active(dag_id, tag)`` returns whether the run with this tag is queued or running; it is called once
    for each run. A job in progress is stopped no earlier than ``grace_seconds`` after its creation, so that the
    teardown of a run that was just deleted comes first. A model is deleted ``model_grace_seconds`` after its creation,
    but never while a job of the same run still runs and may read it. ``is_own_dag`` selects the DAGs of this Airflow
    where several share an account.
    """
    own_resources = [
        (each, run) for each in resources if (run := _read_run_tags(each)) is not None and is_own_dag(run[0])
    ]
    active_by_run = {run: is_run_tag_active(*run) for run in dict.fromkeys(run for _, run in own_resources)}
    runs_with_jobs = {run for each, run in own_resources if each.status in RUNNING_STATUSES}
    found: list[Leftover] = []
    for each, run in own_resources:
        if active_by_run[run]:
            continue
        age = now - each.created_at
        if each.kind is None:
            is_due = age >= model_grace_seconds and run not in runs_with_jobs
        else:
            is_due = age >= grace_seconds and each.status == "InProgress"
        if is_due:
            name = each.tags.get(RUN_ID_TAG) or run[1]
            found.append(Leftover(each, f"run {name} of {run[0]} is not active, and it is {age:.0f} s old"))
    return found


def build_resource(kind: JobKind | None, summary: Mapping[str, Any], tags: Mapping[str, str]) -> Resource:
    """A resource from an entry of an AWS List response."""
    return Resource(
        name=summary["ModelName" if kind is None else kind.name_field],
        kind=kind,
        status=None if kind is None else summary[kind.status_field],
        created_at=summary["CreationTime"].timestamp(),
        tags=tags,
    )


def _read_run_tags(resource: Resource) -> tuple[str, str] | None:
    dag_id, run = resource.tags.get(DAG_TAG), resource.tags.get(RUN_TAG)
    return (dag_id, run) if dag_id and run else None
