"""Reads pipelines, runs and tasks from Airflow's database, with a few bounded queries for each page.

The figures of a finished run are in the XCom of its `clean_up` task, so a list of runs reads no object in S3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from batch_inference.dag.task_docs import TASK_DOCS
from batch_inference.run.task_ids import CLEAN_UP, PIPELINE_TAG
from sagemaker_jobs.airflow_compat import Select

#: Final states of a run.
ENDED_STATES = frozenset({"success", "failed"})
#: Joins a value to the task instance that pushed it.
SAME_TASK_INSTANCE = and_(
    TaskInstance.dag_id == XComModel.dag_id,
    TaskInstance.run_id == XComModel.run_id,
    TaskInstance.task_id == XComModel.task_id,
    TaskInstance.map_index == XComModel.map_index,
)
#: The columns of a `Run`.
_RUN_COLUMNS: tuple[Any, ...] = (
    DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.run_type, DagRun.state, DagRun.run_after, DagRun.start_date,
    DagRun.end_date,
)  # fmt: skip
_WAITING_STATES = ("scheduled", "queued")
#: Whether a value is of the current try. Airflow removes an instance's XComs when it starts again, not when it is
#: cleared (`ti_run` in its execution API), so the instance must have started since: it must not wait for a start (NULL
#: is such a state, too) or have ended without one. A deferred instance that waits to be resumed has `next_method`,
#: which a clear removes, and its values are current.
_IS_CURRENT = or_(
    TaskInstance.state.not_in([*_WAITING_STATES, "restarting", "removed", "upstream_failed", "skipped"]),
    and_(TaskInstance.state.in_(_WAITING_STATES), TaskInstance.next_method.is_not(None)),
)


@dataclass(frozen=True, slots=True)
class PipelineDag:
    """A DAG of a pipeline, from the columns of `list_pipeline_dags`."""

    dag_id: str
    description: str
    is_paused: bool
    next_run_after: datetime | None

    @property
    def team(self) -> str:
        """The folders of the pipeline's file, with dots; with a matrix also the file. Empty at the top."""
        return self.dag_id.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class PipelinePlace:
    """Where the jobs and files of a pipeline are: Airflow's connection, the region, and the prefix of all its runs."""

    aws_conn_id: str
    region: str | None
    runs_prefix: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a DAG, from `_RUN_COLUMNS`; `dag_run_id` is its primary key in Airflow's database."""

    dag_run_id: int
    dag_id: str
    run_id: str
    run_type: str
    state: str
    run_after: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.state in ENDED_STATES

    @property
    def duration_seconds(self) -> float | None:
        """The run's duration; None if it has not started or not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All instances of one task in a run: the most important state, and the time from first start to last end."""

    task_id: str
    state: str
    map_index: int
    started_at: datetime | None
    ended_at: datetime | None
    try_number: int
    task_instance_count: int


def list_pipeline_dags(session: Session, *, with_stale: bool = False) -> dict[str, PipelineDag]:
    """The DAGs tagged as pipelines by id, sorted; without those that are stale, unless `with_stale`."""
    description = func.coalesce(DagModel.description, "")
    found = session.execute(
        select(DagModel.dag_id, description, DagModel.is_paused, DagModel.next_dagrun_create_after)
        .join(DagTag, DagTag.dag_id == DagModel.dag_id)
        .where(DagTag.name == PIPELINE_TAG, *([] if with_stale else [DagModel.is_stale.is_(False)]))
        .order_by(DagModel.dag_id)
    )
    return {row.dag_id: PipelineDag(*row) for row in found}


def is_pipeline_dag(session: Session, dag_id: str) -> bool:
    """Whether the DAG is tagged as a pipeline, stale or not."""
    tagged = select(DagTag.dag_id).where(DagTag.dag_id == dag_id, DagTag.name == PIPELINE_TAG)
    return session.scalar(tagged) is not None


def read_pipeline_place(session: Session, dag_id: str) -> PipelinePlace:
    """Where the pipeline's jobs and files are, from the arguments of its `clean_up` in the serialized DAG.

    The api-server may have no DAG files. Unlike an XCom, a DAG is not written by users of Airflow.

    Raises:
        ValueError: Airflow has no such DAG, or one of another version of this package.
    """
    stored = SerializedDagModel.get(dag_id, session=session)
    data: Any = None if stored is None else stored.data
    tasks = [] if data is None else [task["__var"] for task in data["dag"]["tasks"]]
    arguments: dict[str, Any] = next((task["op_kwargs"] for task in tasks if task["task_id"] == CLEAN_UP), {})
    try:
        return PipelinePlace(**{key: arguments[key] for key in PipelinePlace.__slots__})
    except KeyError as error:
        raise ValueError(
            f"the DAG {dag_id} in Airflow's database does not say its {error.args[0]}; it is there when the DAG "
            f"processor has parsed the DAG with this version of the package"
        ) from None


def list_runs(session: Session, dag_id: str, *, limit: int, offset: int = 0) -> list[Run]:
    """Runs of a DAG, newest first."""
    found = session.execute(
        select(*_RUN_COLUMNS)
        .where(DagRun.dag_id == dag_id)
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [Run(*row) for row in found]


def count_runs(session: Session, dag_id: str) -> int:
    """The number of a DAG's runs in Airflow's database."""
    return session.scalar(select(func.count(DagRun.id)).where(DagRun.dag_id == dag_id)) or 0


def get_run(session: Session, dag_id: str, run_id: str) -> Run | None:
    """One run, or None if Airflow has none with this id."""
    wanted = select(*_RUN_COLUMNS).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    found = session.execute(wanted).first()
    return None if found is None else Run(*found)


def find_running_run_id(session: Session, dag_id: str) -> str | None:
    """The run of a DAG that is running, the first one where there are several; None without one."""
    running = select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.state == "running")
    return session.scalar(running.order_by(DagRun.start_date, DagRun.id).limit(1))


def _select_current_xcoms(*columns: Any) -> Select[Any]:
    """A query of the current XCom values; each row has `columns`, then the value."""
    return select(*columns, XComModel.value).join(TaskInstance, SAME_TASK_INSTANCE).where(_IS_CURRENT)


def read_results(session: Session, runs: Sequence[Run], task_id: str) -> dict[str, dict[str, Any]]:
    """A task's return value in each of these runs, by run id; without runs in which it returned none."""
    if not runs:
        return {}
    found = session.execute(
        _select_current_xcoms(XComModel.run_id).where(
            XComModel.dag_run_id.in_([run.dag_run_id for run in runs]),
            XComModel.task_id == task_id,
            XComModel.key == "return_value",
            XComModel.map_index == -1,
        )
    )
    values = {run_id: parse_xcom_value(value) for run_id, value in found}
    return {run_id: value for run_id, value in values.items() if isinstance(value, dict)}


def read_xcoms(
    session: Session, run: Run, task_keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Any]:
    """XComs of a run's unmapped tasks: (task id, key) to value."""
    pairs = set(task_keys)
    found = session.execute(
        _select_current_xcoms(XComModel.task_id, XComModel.key).where(
            XComModel.dag_run_id == run.dag_run_id,
            XComModel.map_index == -1,
            XComModel.task_id.in_({task for task, _ in pairs}),
            XComModel.key.in_({key for _, key in pairs}),
        )
    )
    return {(task, key): parse_xcom_value(value) for task, key, value in found if (task, key) in pairs}


def read_mapped_xcoms(
    session: Session, run: Run, task_keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], dict[int, Any]]:
    """XComs of a run's tasks: (task id, key) to the values by map index, -1 of a task that is not mapped."""
    pairs = set(task_keys)
    found = session.execute(
        _select_current_xcoms(XComModel.task_id, XComModel.key, XComModel.map_index).where(
            XComModel.dag_run_id == run.dag_run_id,
            XComModel.task_id.in_({task for task, _ in pairs}),
            XComModel.key.in_({key for _, key in pairs}),
        )
    )
    values: dict[tuple[str, str], dict[int, Any]] = {}
    for task_id, key, index, value in found:
        if (task_id, key) in pairs:
            values.setdefault((task_id, key), {})[index] = parse_xcom_value(value)
    return values


def list_tasks(session: Session, run: Run) -> list[Task]:
    """The run's tasks in the order of the DAG; unknown tasks come last, by name."""
    instances = session.execute(
        select(
            TaskInstance.task_id, TaskInstance.state, TaskInstance.map_index, TaskInstance.start_date,
            TaskInstance.end_date, TaskInstance.try_number,
        ).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )  # fmt: skip
    by_task: dict[str, list[Any]] = {}
    for each in instances:
        by_task.setdefault(each.task_id, []).append(each)
    known = [task_id for task_id in TASK_DOCS if task_id in by_task]
    ordered = [*known, *sorted(by_task.keys() - TASK_DOCS.keys())]
    return [_merge_instances(task_id, by_task[task_id]) for task_id in ordered]


#: A mapped task has the first of these states that one of its instances is in.
_STATE_PRIORITY = (
    "failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "deferred", "restarting", "queued",
    "scheduled", "removed",
)  # fmt: skip


def _merge_instances(task_id: str, instances: Sequence[Any]) -> Task:
    def loudness(each: Any) -> int:
        return _STATE_PRIORITY.index(each.state) if each.state in _STATE_PRIORITY else len(_STATE_PRIORITY)

    deciding = min(instances, key=loudness)
    started = [each.start_date for each in instances if each.start_date is not None]
    ended = [each.end_date for each in instances if each.end_date is not None]
    return Task(
        task_id=task_id,
        state=str(deciding.state or "waiting"),
        map_index=deciding.map_index,
        started_at=min(started, default=None),
        ended_at=max(ended) if len(ended) == len(instances) else None,
        try_number=deciding.try_number,
        task_instance_count=len(instances),
    )


def parse_xcom_value(value: Any) -> Any:
    """A stored XCom, parsed; text that is not JSON, from a custom XCom backend, is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
