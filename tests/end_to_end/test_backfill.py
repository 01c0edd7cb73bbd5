"""A backfill through Airflow gives each date its own rows, and a second one over the same dates gives the same.

DAYS (2 in `make test`, 30 in `make backfill`) says how many dates.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pandas
import pytest

from batch_inference.common.s3_uri import split_s3_uri
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.moody import BUCKET, COLUMNS, build_pipeline_change, compute_expected, lines, records

DAYS = int(os.environ.get("DAYS", "2"))
SECONDS = 300 + 120 * DAYS

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(2 * SECONDS + 300)]

DAG = "records_by_date"
INPUT, OUTPUT = f"{BUCKET}/records/in/{DAG}/", f"{BUCKET}/records/out/{DAG}/"
FIRST = date(2026, 1, 30)
DATES = [FIRST + timedelta(days=number) for number in range(DAYS)]


def rows_of(day: date) -> list[str]:
    """Each date has records of its own, and a number of them that no other has."""
    return records(f"{day:%d}-", 40 + DATES.index(day))


@pytest.fixture(scope="module")
def by_date(deployment: Deployment) -> Iterator[Deployment]:
    """A nightly pipeline with input for each date."""
    bucket, prefix = split_s3_uri(INPUT)
    for day in DATES:
        deployment.s3.put_object(Bucket=bucket, Key=f"{prefix}date={day}/all.csv", Body=lines(rows_of(day)))
    sections: dict[str, Any] = {
        "schedule": "0 2 * * *",
        "input": {"uri": f"{INPUT}date={{date}}/", "columns": COLUMNS},
        "output": {"uri": f"{OUTPUT}date={{date}}/", "grace_minutes": 0},
    }
    deployment.deploy(DAG, build_pipeline_change(DAG, "sound", **sections))
    yield deployment
    deployment.airflow.api.call("PATCH", f"/dags/{DAG}", {"is_paused": True})


def backfill(deployment: Deployment) -> dict[str, str]:
    """Backfill all dates, also those that have a run, as the UI does; the state of each date's run."""
    body = {
        "dag_id": DAG,
        "from_date": f"{DATES[0]}T00:00:00Z",
        "to_date": f"{DATES[-1]}T23:00:00Z",
        "reprocess_behavior": "completed",
        "max_active_runs": 2,
    }
    number = deployment.airflow.api.call("POST", "/backfills", body)["id"]
    deadline = time.monotonic() + SECONDS
    # Airflow looks every thirty seconds whether a backfill has ended, and takes no other for the DAG before.
    while not deployment.airflow.api.call("GET", f"/backfills/{number}")["completed_at"]:
        deployment.airflow.raise_if_dead()
        assert time.monotonic() < deadline, "the backfill did not end"
        time.sleep(1)
    runs = deployment.airflow.api.call("GET", f"/dags/{DAG}/dagRuns?limit=1000")["dag_runs"]
    dates = {str(day) for day in DATES}
    return {run["logical_date"][:10]: run["state"] for run in runs if run["logical_date"][:10] in dates}


def check(deployment: Deployment) -> dict[date, str]:
    """Each date's output holds its rows and no other file; which job scored it."""
    jobs = {}
    for day in DATES:
        prefix = f"{OUTPUT}date={day}/"
        frame, manifest = deployment.read_published(prefix)
        pandas.testing.assert_frame_equal(frame, compute_expected(rows_of(day)), check_dtype=False)
        files = {file["uri"].removeprefix(prefix) for file in manifest["files"]}
        assert set(deployment.objects(prefix)) == {*files, "_manifest.json", "_SUCCESS"}
        jobs[day] = deployment.xcom(DAG, manifest["run_id"], "await_transform")["job_name"]
    assert len(set(jobs.values())) == DAYS
    return jobs


def test_each_date_has_its_own_rows_twice_in_a_row(by_date: Deployment) -> None:
    """The second backfill scores anew, and takes the place of the first; nothing of that is left."""
    succeeded = dict.fromkeys(map(str, DATES), "success")
    assert backfill(by_date) == succeeded
    before = check(by_date)
    assert backfill(by_date) == succeeded
    after = check(by_date)
    assert not set(before.values()) & set(after.values())
