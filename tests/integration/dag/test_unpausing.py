"""Which scheduled run Airflow creates when a DAG is unpaused, as `docs/guides/runs.md` says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.timetables import trigger
from airflow.timetables.base import DagRunInfo

from batch_inference.dag.scoring_dag import build_pipeline_dag
from sagemaker_jobs.airflow_compat import DagSerialization
from tests.unit.builders import pipeline


@pytest.mark.parametrize(
    ("last", "now", "following"),
    [
        # The DAG ran on its schedule and was paused for nights: the last of them, and no other, is run at once.
        (datetime(2026, 1, 5, 2), datetime(2026, 1, 9, 15), datetime(2026, 1, 9, 2)),
        # It was not paused over a scheduled time: nothing is run.
        (datetime(2026, 1, 9, 2), datetime(2026, 1, 9, 15), datetime(2026, 1, 10, 2)),
        # It never ran on its schedule: that of this night is run within 10 % of a day, and later none.
        (None, datetime(2026, 1, 9, 4), datetime(2026, 1, 9, 2)),
        (None, datetime(2026, 1, 9, 15), datetime(2026, 1, 10, 2)),
    ],
)
def test_an_unpaused_dag_runs_its_last_scheduled_time_if_that_was_missed(
    last: datetime | None, now: datetime, following: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time that is over when Airflow looks is one whose run it creates at once."""
    monkeypatch.setattr(trigger, "utcnow", lambda: now.replace(tzinfo=UTC))
    dag = build_pipeline_dag(pipeline({"schedule": "0 2 * * *"}), tmp_path)
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    before = None
    if last is not None:
        at = last.replace(tzinfo=UTC)
        before = DagRunInfo.interval(at, at)  # type: ignore[arg-type]
    found = stored.next_dagrun_info(last_automated_run_info=before)
    assert found is not None
    assert found.run_after == following.replace(tzinfo=UTC)
