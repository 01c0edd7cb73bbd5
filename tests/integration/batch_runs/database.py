"""Rows in Airflow's database as its scheduler and tasks would leave them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batch_inference.dag.scoring_dag import build_pipeline_dag
from tests.unit.builders import pipeline

START = datetime(2026, 1, 1, 2, tzinfo=UTC)


class Database:
    """Adds DAGs, runs, tasks and what tasks handed on."""

    def __init__(self) -> None:
        self.dag_run_ids: dict[tuple[str, str], int] = {}

    def add_dag(self, dag_id: str, *, tag: str = "batch inference", **columns: Any) -> None:
        """A DAG that the dag-processor has parsed; `columns` of its `DagModel` have other values."""
        from airflow.models.dag import DagModel, DagTag
        from airflow.models.dagbundle import DagBundleModel

        with self._session() as session:
            if session.get(DagBundleModel, "tests") is None:
                session.add(DagBundleModel(name="tests"))
                session.flush()
            session.add(
                DagModel(
                    **{
                        "dag_id": dag_id, "bundle_name": "tests", "is_paused": False, "is_stale": False,
                        "description": f"about {dag_id}", "fileloc": "x.py", "relative_fileloc": "x.py", **columns,
                    }
                )
            )  # fmt: skip
            session.flush()
            session.add(DagTag(dag_id=dag_id, name=tag))
        with self._session() as session:
            _write_serialized_dag(dag_id, session)

    def add_runs(
        self,
        dag_id: str,
        run_ids: list[str],
        *,
        state: str = "success",
        states: Mapping[str, str] | None = None,
    ) -> None:
        """Runs on consecutive nights, an hour long, after those that the DAG has, in `state` or that of `states`."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import insert, select

        values = [
            {
                "dag_id": dag_id, "run_id": run_id, "state": (states or {}).get(run_id, state),
                "run_type": "scheduled", "clear_number": 0,
                "run_after": START + timedelta(days=night), "logical_date": START + timedelta(days=night),
                "start_date": START + timedelta(days=night),
                "end_date": START + timedelta(days=night, hours=1) if state in ("success", "failed") else None,
            }
            for night, run_id in enumerate(run_ids, sum(known == dag_id for known, _ in self.dag_run_ids))
        ]  # fmt: skip
        with self._session() as session:
            session.execute(insert(DagRun.__table__), values)
            found = session.execute(select(DagRun.run_id, DagRun.id).where(DagRun.dag_id == dag_id))
            self.dag_run_ids |= {(dag_id, run_id): number for run_id, number in found}

    def change_run(self, dag_id: str, run_id: str, **columns: Any) -> None:
        """Give a run other values: `start_date`, `end_date`, `run_type`, `triggering_user_name` and so on."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import update

        with self._session() as session:
            where = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            session.execute(update(DagRun).where(*where).values(**columns))

    def change_dag(self, dag_id: str, **columns: Any) -> None:
        """Give the `DagModel` of a DAG other values."""
        from airflow.models.dag import DagModel
        from sqlalchemy import update

        with self._session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(**columns))

    def add_import_error(self, filename: str, text: str) -> None:
        """What Airflow keeps of a file that it could not parse."""
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.errors import ParseImportError

        with self._session() as session:
            if session.get(DagBundleModel, "tests") is None:
                session.add(DagBundleModel(name="tests"))
                session.flush()
            session.add(
                ParseImportError(filename=filename, bundle_name="tests", timestamp=START, stacktrace=text)
            )

    def add_tasks(
        self, dag_id: str, run_id: str, states: Mapping[str, str | None], map_index: int = -1
    ) -> None:
        """Task instances of a run in these states."""
        self.add_instances(dag_id, [run_id], states, map_index)

    def add_instances(
        self, dag_id: str, run_ids: list[str], states: Mapping[str, str | None], map_index: int = -1
    ) -> None:
        """Task instances of several runs in these states."""
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import insert

        values = [
            {
                "task_id": task, "dag_id": dag_id, "run_id": run_id, "map_index": map_index,
                "state": state, "pool": "default_pool", "pool_slots": 1, "queue": "default", "priority_weight": 1,
                "try_number": 1, "max_tries": 2, "span_status": "not_started", "executor_config": {},
            }
            for run_id in run_ids
            for task, state in states.items()
        ]  # fmt: skip
        with self._session() as session:
            session.execute(insert(TaskInstance), values)

    def push_xcom(
        self, dag_id: str, run_id: str, task: str, value: Any, key: str = "return_value", map_index: int = -1
    ) -> None:
        """What a task of a run pushed."""
        self.push_xcoms(dag_id, task, {run_id: value}, key, map_index)

    def push_xcoms(
        self,
        dag_id: str,
        task: str,
        values: Mapping[str, Any],
        key: str = "return_value",
        map_index: int = -1,
    ) -> None:
        """What a task pushed in each of several runs."""
        from airflow.models.xcom import XComModel
        from sqlalchemy import insert

        rows = [
            {
                "dag_run_id": self.dag_run_ids[dag_id, run_id], "dag_id": dag_id, "run_id": run_id, "task_id": task,
                "map_index": map_index, "key": key, "value": value, "timestamp": START,
            }
            for run_id, value in values.items()
        ]  # fmt: skip
        with self._session() as session:
            session.execute(insert(XComModel), rows)

    def clear_tasks(self, dag_id: str, run_id: str, tasks: Collection[str]) -> None:
        """What *Clear* in Airflow's UI does to all instances of these tasks, by Airflow's own function."""
        from airflow.models.taskinstance import TaskInstance, clear_task_instances
        from sqlalchemy import select

        chosen = select(TaskInstance).where(
            TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id.in_(tasks)
        )
        with self._session() as session:
            clear_task_instances(list(session.scalars(chosen)), session)

    def set_state(
        self, dag_id: str, run_id: str, task: str, state: str | None, next_method: str | None = None
    ) -> None:
        """Where a task's instances are now; `next_method` is what one that deferred is resumed with."""
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import update

        where = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task)
        with self._session() as session:
            session.execute(update(TaskInstance).where(*where).values(state=state, next_method=next_method))

    def end_task(self, dag_id: str, run_id: str, task: str, at: datetime, map_index: int = -1) -> None:
        """When the last try of a task ended."""
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import update

        where = (
            TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task,
            TaskInstance.map_index == map_index,
        )  # fmt: skip
        with self._session() as session:
            session.execute(update(TaskInstance).where(*where).values(end_date=at))

    def clear(self) -> None:
        """Remove what the test module added."""
        self.dag_run_ids.clear()
        from airflow.models.dag import DagModel, DagTag
        from airflow.models.dag_version import DagVersion
        from airflow.models.dagcode import DagCode
        from airflow.models.dagrun import DagRun
        from airflow.models.errors import ParseImportError
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from sqlalchemy import delete

        with self._session() as session:
            for table in (
                XComModel, TaskInstance, DagRun, DagTag, DagCode, SerializedDagModel, DagVersion, DagModel,
                ParseImportError,
            ):  # fmt: skip
                session.execute(delete(table))

    def _session(self) -> Any:
        from airflow.utils.session import create_session

        return create_session(scoped=False)


def _write_serialized_dag(dag_id: str, session: Any) -> None:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    made = pipeline({"name": dag_id, "aws_conn_id": "aws_test", "work": "s3://bucket/work"})
    dag = build_pipeline_dag(made, Path())
    # The code of the DAG file is stored with it.
    dag.fileloc, dag.relative_fileloc = __file__, "x.py"
    SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), "tests", session=session)
