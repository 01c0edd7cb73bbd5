"""A night's run hangs in `plan` beyond its deadline, and the scheduler is down at that moment.

Somebody is told of it all the same, once; and the run scores the date of the data that started it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.common.names import RunPaths
from batch_inference.common.s3_uri import split_s3_uri
from tests.faults import data
from tests.faults.case import Case
from tests.faults.phases import Phase, Pipeline
from tests.faults.running_cases import EVERYTHING
from tests.faults.scenario import Scenario
from tests.faults.suite import Suite, running_suite, wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(3000)]

ASSET = "s3://faults/raw/"
DATA_TIME = datetime(2026, 1, 31, tzinfo=UTC)
#: Two minutes in `make faults`; `make test` has less time.
DOWN_SECONDS = 120 if EVERYTHING else 15

CASE = Case(
    name="late-run",
    fault="the scheduler is down at the deadline of a run whose plan hangs, and is back two minutes later",
    ending="success: notify.on_late is called once",
    act=lambda _: None,
    pipeline={
        "schedule_on": [ASSET],
        "notify": {
            "on_late": [
                {
                    "notifier": "to_file.ToFile",
                    "arguments": {"path": "told.txt", "message": "{{ dag.dag_id }} {{ run_id }}: {{ late }}"},
                }
            ]
        },
    },
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A deployment with the pipeline alone."""
    with running_suite(
        "sqlite", tmp_path_factory.mktemp("late"), [Pipeline(CASE.name, (Phase((CASE,)),))]
    ) as found:
        yield found


def write_deadline(suite: Suite, due: datetime, told: Path) -> None:
    """Give the pipeline a deadline, and a file for its notices."""
    path = suite.root / "include" / "pipelines" / f"{CASE.name}.yaml"
    document = yaml.safe_load(path.read_text())
    document["goals"] = {"deadline": f"{due:%H:%M}"}
    document["notify"]["on_late"][0]["arguments"]["path"] = str(told)
    path.write_text(yaml.safe_dump(document))


def start_by_asset(suite: Suite) -> str:
    """Update the asset as `publish` does; the id of the run that Airflow creates."""
    (asset,) = suite.api("GET", "/assets?uri_pattern=faults/raw")["assets"]
    extra = {"data_time": DATA_TIME.isoformat()}
    suite.api("POST", "/assets/events", {"asset_id": asset["id"], "extra": extra})

    def find_run() -> str | None:
        runs = suite.api("GET", f"/dags/{CASE.name}/dagRuns?limit=100")["dag_runs"]
        found = (run["dag_run_id"] for run in runs if run["run_type"] == "asset_triggered")
        return next(found, None)

    return str(wait_until(find_run, "a run is started by the asset"))


def read_run_file(suite: Suite, uri: str) -> Any:
    """A JSON document of a run."""
    bucket, key = split_s3_uri(uri)
    return json.loads(suite.aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def test_a_late_run_is_told_once_though_the_scheduler_was_down_at_its_deadline(
    suite: Suite, tmp_path: Path
) -> None:
    """Neither the look that is lost nor those that follow, nor the end of the run, tell it once more."""
    told = tmp_path / "told.txt"
    told.touch()
    scenario = Scenario(suite, CASE, CASE.name)
    hold = scenario.arm(
        "s3_hold", operation="PutObject", count=100, key_contains=f"/work/{CASE.name}/*/plan.json"
    )
    run_id = start_by_asset(suite)
    scenario.runs.append(run_id)
    scenario.wait_for_hold(hold)
    write_deadline(suite, datetime.now(UTC) + timedelta(hours=1), told)
    suite.run_janitor()
    assert told.read_text() == ""

    suite.airflow.kill("scheduler")
    due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    write_deadline(suite, due, told)
    time.sleep((due - datetime.now(UTC)).total_seconds() + DOWN_SECONDS)
    assert told.read_text() == ""
    scenario.start("scheduler")
    wait_until(told.read_text, "somebody is told")
    suite.run_janitor()
    suite.run_janitor()

    scenario.release_fault(hold)
    scenario.wait_for_success()
    suite.run_janitor()
    (line,) = told.read_text().splitlines()
    deadline = f"its deadline was {due:%Y-%m-%d %H:%M} UTC"
    assert line.startswith(f"{CASE.name} {run_id}: {CASE.name}, run {run_id}, is late: {deadline}. It ")
    paths = RunPaths.from_run_id(work=f"s3://{data.BUCKET}/work", pipeline=CASE.name, run_id=run_id)
    plan = read_run_file(suite, paths.plan)
    assert datetime.fromisoformat(plan["due"]) == due
    assert datetime.fromisoformat(plan["data_time"]) == DATA_TIME
    notice = read_run_file(suite, paths.late)
    assert (notice["waiting"], notice["attempts"]) == ([], 1)
