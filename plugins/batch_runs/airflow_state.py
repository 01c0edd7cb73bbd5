"""What Airflow's database knows of pipelines, runs and tasks: a few bounded queries for each page, whatever has run.

The figures of a finished run stand in the XCom of its `report` task, so a list of runs reads no object in S3.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from include.orchestration.documentation import TASKS
from include.orchestration.names import PIPELINE_TAG

#: States in which a run will not change any more by itself.
ENDED = frozenset({"success", "failed"})
#: The instance that handed a value on.
_BY = and_(
    TaskInstance.dag_id == XComModel.dag_id,
    TaskInstance.run_id == XComModel.run_id,
    TaskInstance.task_id == XComModel.task_id,
    TaskInstance.map_index == XComModel.map_index,
)
_WAITS = ("scheduled", "queued")
#: Whether a value is of the try that stands. What a task handed on is removed when it starts again and not when it is
#: cleared (`ti_run` in Airflow's execution API), so the instance must have run since: it waits for no first start (NULL
#: is such a state, too), and has not ended without one. One that deferred waits to be resumed with `next_method`, which
#: a clear takes away, and then keeps its values.
_STANDS = or_(
    TaskInstance.state.not_in([*_WAITS, "restarting", "removed", "upstream_failed", "skipped"]),
    and_(TaskInstance.state.in_(_WAITS), TaskInstance.next_method.is_not(None)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDag:
    """A DAG of this package."""

    dag_id: str
    description: str
    paused: bool
    next_run: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a DAG; `number` is Airflow's own id of it."""

    number: int
    dag_id: str
    run_id: str
    run_type: str
    state: str
    moment: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more by itself."""
        return self.state in ENDED

    @property
    def seconds(self) -> float | None:
        """How long it took, None when it has not started or not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The instances of one task in a run, taken together: the state that matters most, and when they ran."""

    task_id: str
    state: str
    map_index: int
    started_at: datetime | None
    ended_at: datetime | None
    try_number: int
    instances: int


def pipeline_dags(session: Session) -> dict[str, PipelineDag]:
    """The DAGs that `scoring_dag` made and Airflow still finds, by id, in order."""
    found = session.execute(
        select(DagModel.dag_id, DagModel.description, DagModel.is_paused, DagModel.next_dagrun_create_after)
        .join(DagTag, DagTag.dag_id == DagModel.dag_id)
        .where(DagTag.name == PIPELINE_TAG, DagModel.is_stale.is_(False))
        .order_by(DagModel.dag_id)
    )
    return {
        dag_id: PipelineDag(dag_id=dag_id, description=description or "", paused=paused, next_run=following)
        for dag_id, description, paused, following in found
    }


def is_pipeline(session: Session, dag_id: str) -> bool:
    """Whether the DAG is one of this package's, stale or not."""
    tagged = select(DagTag.dag_id).where(DagTag.dag_id == dag_id, DagTag.name == PIPELINE_TAG)
    return session.scalar(tagged) is not None


def runs(session: Session, dag_id: str, *, most: int, skip: int = 0) -> list[Run]:
    """Runs of a DAG, newest first."""
    found = session.scalars(
        select(DagRun)
        .where(DagRun.dag_id == dag_id)
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(most)
        .offset(skip)
    )
    return [_run(each) for each in found]


def number_of_runs(session: Session, dag_id: str) -> int:
    """How many runs of a DAG Airflow keeps."""
    return session.scalar(select(func.count(DagRun.id)).where(DagRun.dag_id == dag_id)) or 0


def run_named(session: Session, dag_id: str, run_id: str) -> Run | None:
    """One run, or None when Airflow has none of this id."""
    found = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if found is None else _run(found)


def _values(*named_by: Any) -> Select[Any]:
    """The values that count, each with these columns of it in front."""
    return select(*named_by, XComModel.value).join(TaskInstance, _BY).where(_STANDS)


def results(session: Session, of: Sequence[Run], task_id: str) -> dict[str, dict[str, Any]]:
    """What a task of each of these runs returned, by run id; runs in which it did not are left out."""
    if not of:
        return {}
    found = session.execute(
        _values(XComModel.run_id).where(
            XComModel.dag_run_id.in_([run.number for run in of]),
            XComModel.task_id == task_id,
            XComModel.key == "return_value",
            XComModel.map_index == -1,
        )
    )
    plain = {run_id: _plain(value) for run_id, value in found}
    return {run_id: value for run_id, value in plain.items() if isinstance(value, dict)}


def handed_on(session: Session, run: Run, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """XComs of a run's unmapped tasks: (task id, key) to value."""
    pairs = set(wanted)
    found = session.execute(
        _values(XComModel.task_id, XComModel.key).where(
            XComModel.dag_run_id == run.number,
            XComModel.map_index == -1,
            XComModel.task_id.in_({task for task, _ in pairs}),
            XComModel.key.in_({key for _, key in pairs}),
        )
    )
    return {(task, key): _plain(value) for task, key, value in found if (task, key) in pairs}


def returned_by_instances(session: Session, run: Run, task_ids: Collection[str]) -> dict[str, dict[int, Any]]:
    """What the instances of these tasks returned in a run, by task and map index; that of an unmapped task is -1."""
    found = session.execute(
        _values(XComModel.task_id, XComModel.map_index).where(
            XComModel.dag_run_id == run.number,
            XComModel.task_id.in_(task_ids),
            XComModel.key == "return_value",
        )
    )
    returned: dict[str, dict[int, Any]] = {}
    for task_id, index, value in found:
        returned.setdefault(task_id, {})[index] = _plain(value)
    return returned


def tasks(session: Session, run: Run) -> list[Task]:
    """The run's tasks in the order of the chain; those that it does not know come last, by name."""
    instances = session.execute(
        select(
            TaskInstance.task_id, TaskInstance.state, TaskInstance.map_index, TaskInstance.start_date,
            TaskInstance.end_date, TaskInstance.try_number,
        ).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )  # fmt: skip
    by_task: dict[str, list[Any]] = {}
    for each in instances:
        by_task.setdefault(each.task_id, []).append(each)
    merged = [_merged(task_id, found) for task_id, found in by_task.items()]
    return sorted(merged, key=lambda task: (_place(task.task_id), task.task_id))


def _place(task_id: str) -> int:
    chain = list(TASKS)
    return chain.index(task_id) if task_id in TASKS else len(chain)


#: Of several instances of a mapped task the one in the first of these states speaks for all.
_LOUDEST = (
    "failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "deferred", "restarting", "queued",
    "scheduled", "removed",
)  # fmt: skip


def _merged(task_id: str, found: Sequence[Any]) -> Task:
    def loudness(each: Any) -> int:
        return _LOUDEST.index(each.state) if each.state in _LOUDEST else len(_LOUDEST)

    speaker = min(found, key=loudness)
    started = [each.start_date for each in found if each.start_date is not None]
    ended = [each.end_date for each in found if each.end_date is not None]
    return Task(
        task_id=task_id,
        state=str(speaker.state or "waiting"),
        map_index=speaker.map_index,
        started_at=min(started, default=None),
        ended_at=max(ended) if len(ended) == len(found) else None,
        try_number=speaker.try_number,
        instances=len(found),
    )


def _run(found: DagRun) -> Run:
    return Run(
        number=found.id,
        dag_id=found.dag_id,
        run_id=found.run_id,
        run_type=str(found.run_type),
        state=str(found.state),
        moment=found.run_after,
        started_at=found.start_date,
        ended_at=found.end_date,
    )


def _plain(value: Any) -> Any:
    """A stored XCom as plain JSON; what is no JSON was written by a backend that keeps its values elsewhere."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
