"""What is left over: jobs that run and models that stay although their run is over. Pure decisions, no calls.

For what neither ``on_kill``, a timeout nor a teardown reaches: ``dagrun_timeout`` skips even teardowns, a run
may be deleted, a database lost. Only what carries the tags of a run is ever judged: jobs of others are none
of our business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sagemaker_jobs.kinds import JobKind

DAG_TAG = "airflow:dag-id"
#: Which run, as ``run_tag`` has it.
RUN_TAG = "airflow:run"
#: The run's id as people read it, as far as AWS takes it: nothing is decided by it.
RUN_ID_TAG = "airflow:run-id"


class Action(Enum):
    """What to do about a leftover."""

    STOP = "stop"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTags:
    """The keys of the two tags by which a resource names its run, and of the one by which people read which it is."""

    dag: str = DAG_TAG
    run: str = RUN_TAG
    run_id: str = RUN_ID_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A job or a model as List and ListTags tell of it.

    Attributes:
        name: its name.
        kind: processing or transform; None for a model.
        status: of a job; None for a model.
        created_at: epoch seconds.
        tags: its tags; {} if they could not be read, which leaves it alone.
    """

    name: str
    kind: JobKind | None
    status: str | None
    created_at: float
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A resource to stop or delete, and why, as a sentence for the log."""

    resource: Resource
    action: Action
    because: str


def run_tag(run_id: str) -> str:
    """A run's id as the value of ``RUN_TAG``: its digest, since a tag takes neither every character nor every length.

    Half an id would name no run, and a live job would look left over.
    """
    return hashlib.sha256(run_id.encode()).hexdigest()[:32]


def leftovers(
    resources: Iterable[Resource],
    *,
    is_active: Callable[[str, str], bool],
    now: float,
    grace_seconds: float = 300.0,
    keep_models_seconds: float = 3600.0,
    tags: RunTags | None = None,
    only_dags: Callable[[str], bool] = lambda _: True,
) -> list[Leftover]:
    """The resources whose run is over, each with what to do; in the order in which they came.

    ``is_active(dag_id, tag)`` says whether the run with this tag is queued or running; it is asked once for each run. A
    job in progress is stopped ``grace_seconds`` after its creation at the earliest, which a run that has just
    been deleted leaves to its own teardown. A model is deleted ``keep_models_seconds`` after its creation,
    but never while a job of the same run still runs: that job may read it. ``only_dags`` narrows to DAGs of
    this Airflow, for an account that several share.
    """
    tags = tags or RunTags()
    ours = [each for each in resources if _run_of(each, tags) is not None and only_dags(each.tags[tags.dag])]
    active: dict[tuple[str, str], bool] = {}
    for each in ours:
        run = each.tags[tags.dag], each.tags[tags.run]
        if run not in active:
            active[run] = is_active(*run)
    busy = {_run_of(each, tags) for each in ours if each.status in {"InProgress", "Stopping"}}
    found: list[Leftover] = []
    for each in ours:
        dag_id, tag = run = each.tags[tags.dag], each.tags[tags.run]
        age = now - each.created_at
        if active[run]:
            continue
        why = f"run {each.tags.get(tags.run_id) or tag} of {dag_id} is not active, and it is {age:.0f} s old"
        if each.kind is not None and each.status == "InProgress" and age >= grace_seconds:
            found.append(Leftover(each, Action.STOP, why))
        elif each.kind is None and age >= keep_models_seconds and run not in busy:
            found.append(Leftover(each, Action.DELETE, why))
    return found


def past_keeping(
    prefixes: Mapping[str, tuple[str, str]],
    newest: Mapping[str, float],
    *,
    is_active: Callable[[str, str], bool],
    now: float,
    keep_seconds: float,
) -> list[str]:
    """The run prefixes to delete: of runs that are not active, without an object newer than ``keep_seconds``.

    ``prefixes`` has (dag_id, run_id) by prefix; ``newest`` the epoch seconds of a prefix's newest object. A
    prefix of which no object is known is left alone.
    """
    return [
        prefix
        for prefix, run in prefixes.items()
        if prefix in newest and now - newest[prefix] >= keep_seconds and not is_active(*run)
    ]


def resource_of(kind: JobKind | None, summary: Mapping[str, Any], tags: Mapping[str, str]) -> Resource:
    """A resource from an entry of AWS's List answer."""
    return Resource(
        name=summary["ModelName" if kind is None else kind.name_field],
        kind=kind,
        status=None if kind is None else summary[kind.status_field],
        created_at=summary["CreationTime"].timestamp(),
        tags=tags,
    )


def _run_of(resource: Resource, tags: RunTags) -> tuple[str, str] | None:
    dag_id, run = resource.tags.get(tags.dag), resource.tags.get(tags.run)
    return (dag_id, run) if dag_id and run else None
