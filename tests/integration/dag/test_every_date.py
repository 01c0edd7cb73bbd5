"""A run may be for any date: what decides that is Airflow's own code, which is asked here without its processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from batch_inference.dag.janitor import build_janitor_dag
from batch_inference.dag.pipeline_dags import build_scoring_dag
from sagemaker_jobs.airflow_compat import DagSerialization
from tests.integration.staged_runs import document
from tests.unit.builders import WITHOUT_PREPROCESS
from tests.unit.builders import document as other_document


def any_dag(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DAG:
    """A DAG of this package."""
    if kind == "janitor":
        return build_janitor_dag(tmp_path)
    made = other_document(WITHOUT_PREPROCESS) if kind == "without preprocess" else document()
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump({**made, "schedule": "0 2 * * *"}))
    return build_scoring_dag("churn", folder=tmp_path)


@contextmanager
def a_run(dag: DAG, logical_date: datetime | None, run_type: str = "manual") -> Iterator[tuple[Any, Any]]:
    """A run of the DAG in Airflow's database, as the API or a backfill makes it, with the session that knows it."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        session.merge(DagBundleModel(name="every-date"))
        session.flush()
        session.merge(DagModel(dag_id=dag.dag_id, bundle_name="every-date"))
        session.flush()
        SerializedDagModel.write_dag(
            LazyDeserializedDAG.from_dag(dag), bundle_name="every-date", session=session
        )
        session.flush()
        serialized = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        run = serialized.create_dagrun(
            run_id=f"{run_type}__{'now' if logical_date is None else logical_date.isoformat()}",
            logical_date=logical_date,
            data_interval=None if logical_date is None else (logical_date, logical_date),
            run_after=datetime.now(UTC),
            run_type=DagRunType(run_type),
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
            session=session,
        )
        run.dag = serialized
        assert DagVersion.get_latest_version(dag.dag_id, session=session) is not None
        yield run, session
        session.rollback()


DATES = [
    datetime(1, 1, 2, tzinfo=UTC), datetime(1900, 2, 28, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC), None,
]  # fmt: skip


@pytest.mark.parametrize("logical_date", DATES, ids=str)
@pytest.mark.parametrize("run_type", ["manual", "backfill"])
@pytest.mark.parametrize("kind", ["with preprocess", "without preprocess", "janitor"])
def test_a_run_for_any_date_begins_with_its_first_task(
    kind: str, run_type: str, logical_date: datetime | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    airflow_db: Path,
) -> None:  # fmt: skip
    """A start_date would make Airflow leave out each task of a run before it, and call the run a success."""
    dag = any_dag(kind, tmp_path, monkeypatch)
    with a_run(dag, logical_date, run_type) as (run, session):
        first = {task.task_id for task in dag.tasks if not task.upstream_task_ids}
        assert {each.task_id for each in run.get_task_instances(session=session)} >= set(dag.task_ids)
        decided = run.task_instance_scheduling_decisions(session=session)
        assert {each.task_id for each in decided.schedulable_tis} == first


def test_a_run_for_a_date_to_come_waits_for_it_and_airflow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: Path
) -> None:
    """No DAG can change that: it is a dependency of every task. The runbook says what becomes of such a run."""
    dag = any_dag("with preprocess", tmp_path, monkeypatch)
    with a_run(dag, datetime(9999, 12, 30, tzinfo=UTC)) as (run, session):
        decided = run.task_instance_scheduling_decisions(session=session)
        (plan,) = [each for each in decided.tis if each.task_id == "plan"]
        plan.task = run.dag.get_task("plan")
        from airflow.ti_deps.dep_context import DepContext
        from airflow.ti_deps.dependencies_deps import SCHEDULER_QUEUED_DEPS

        context = DepContext(deps=SCHEDULER_QUEUED_DEPS)
        reasons = [each.reason for each in plan.get_failed_dep_statuses(dep_context=context, session=session)]
        assert any("is in the future" in reason for reason in reasons), reasons


def test_a_schedule_needs_no_start_and_makes_up_for_no_night_that_was_missed() -> None:
    """A pipeline that is switched on runs at its next time, and the janitor at once."""
    now = datetime.now(UTC)
    for schedule, within in (
        ("0 2 * * *", timedelta(days=1)),
        (timedelta(minutes=10), timedelta(minutes=11)),
    ):
        dag = DAG("scheduled", schedule=schedule, catchup=False)
        info = DagSerialization.from_dict(DagSerialization.to_dict(dag)).next_dagrun_info(
            last_automated_run_info=None
        )
        assert info is not None
        assert abs(info.run_after - now) <= within
