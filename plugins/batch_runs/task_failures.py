"""Finds why tasks of a run failed, and when the next try comes of a task that waits for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from batch_inference.run.failures import FAILURE_KEY, Failure, parse_failure
from batch_inference.run.outcomes import find_first_failure
from batch_inference.run.task_ids import CLEAN_UP
from batch_runs.airflow_state import SAME_TASK_INSTANCE, Run, parse_xcom_value

FAILED, UP_FOR_RETRY = "failed", "up_for_retry"
#: The most failed instances of a run that are read; a mapped task may have hundreds, which failed alike.
MAX_FAILED_INSTANCES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedInstance:
    """A task instance that has failed, or waits for its next try.

    Attributes:
        try_count: how many tries it has in all.
        next_try_at: when the next try may start; None for one that has failed.
        failure: what its last try said; None where its process was killed, or an older version of this package ran.
    """

    task_id: str
    map_index: int
    state: str
    try_number: int
    try_count: int
    ended_at: datetime | None
    next_try_at: datetime | None
    failure: Failure | None

    @property
    def name(self) -> str:
        """The task's id, with the map index of a mapped task: `join_3`, as `Failure`s and `RunOutcome`s have it."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"


def list_failed_instances(session: Session, run: Run) -> list[FailedInstance]:
    """The task instances that have failed or wait for a retry; first the one that failed first, `clean_up` last."""
    found = session.execute(
        select(
            TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.try_number,
            TaskInstance.max_tries, TaskInstance.end_date, XComModel.value,
        )
        .outerjoin(XComModel, and_(SAME_TASK_INSTANCE, XComModel.key == FAILURE_KEY))
        .where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.state.in_((FAILED, UP_FOR_RETRY)),
        )
        .order_by(TaskInstance.end_date, TaskInstance.task_id, TaskInstance.map_index)
        .limit(MAX_FAILED_INSTANCES)
    )  # fmt: skip
    rows = found.all()
    next_tries = _read_next_tries(session, run) if any(row.state == UP_FOR_RETRY for row in rows) else {}
    instances = [
        FailedInstance(
            task_id=row.task_id,
            map_index=row.map_index,
            state=row.state,
            try_number=row.try_number,
            try_count=max(row.max_tries + 1, row.try_number),
            ended_at=row.end_date,
            next_try_at=next_tries.get((row.task_id, row.map_index)) if row.state == UP_FOR_RETRY else None,
            failure=parse_failure(parse_xcom_value(row.value)),
        )
        for row in rows
    ]
    return _sort_by_cause(instances)


def _sort_by_cause(instances: Sequence[FailedInstance]) -> list[FailedInstance]:
    """First what `clean_up` names as the failure of the run, then the others by time; `clean_up` fails with each."""
    states = {
        each.name: each.state for each in instances if each.state == FAILED and each.task_id != CLEAN_UP
    }
    first = find_first_failure(states, [each.failure for each in instances if each.failure is not None])
    cause = None if first is None else first[0]
    return sorted(instances, key=lambda each: (each.name != cause, each.task_id == CLEAN_UP))


def _read_next_tries(session: Session, run: Run) -> dict[tuple[str, int], datetime]:
    """When Airflow may start the waiting instances again, by its own rule; by task id and map index.

    Without those of tasks that the DAG does not have any more.
    """
    stored = SerializedDagModel.get(run.dag_id, session=session)
    if stored is None:
        return {}
    dag = stored.dag
    waiting = session.scalars(
        select(TaskInstance)
        .where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.state == UP_FOR_RETRY,
            TaskInstance.end_date.is_not(None),
        )
        .order_by(TaskInstance.end_date, TaskInstance.task_id, TaskInstance.map_index)
        .limit(MAX_FAILED_INSTANCES)
    )
    next_tries = {}
    for instance in waiting:
        if dag.has_task(instance.task_id):
            instance.task = dag.get_task(instance.task_id)
            next_try: datetime = instance.next_retry_datetime()  # type: ignore[no-untyped-call]
            next_tries[instance.task_id, instance.map_index] = next_try
    return next_tries
