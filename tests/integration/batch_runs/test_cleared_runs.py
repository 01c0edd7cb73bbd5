"""After a clear, what the attempt before handed on is no figure of the run any more; Airflow keeps it until then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_inference.run.outcomes import RunOutcome
from tests.integration.batch_runs.database import Database
from tests.integration.batch_runs.test_published_runs import PUBLISHED, TOLD
from tests.unit.builders import plan
from tests.unit.reporting.test_report import job

Pages = Callable[[str], str]
RUN, LIST = "run?dag_id=open_one&run_id=night", "runs?dag_id=open_one"
TASKS = ("plan", "preprocess", "await_preprocess", "publish", "clean_up")


@pytest.fixture
def ran(database: Database, storage: Storage) -> Iterator[Database]:
    """A run that has ended."""
    database.add_dag("open_one")
    database.add_runs("open_one", ["night"])
    database.add_tasks("open_one", "night", dict.fromkeys(TASKS, "success"))
    values: dict[str, Any] = {
        "plan": plan([20_000_000] * 2).to_xcom(),
        "preprocess": {"Processing": {"ProcessingJobName": "churn-preprocess-1", "ProcessingResources": {}}},
        "publish": PUBLISHED,
        "clean_up": TOLD,
    }
    for task, value in values.items():
        database.push_xcom("open_one", "night", task, value)
    facts = {"preprocess_job": "p", "records_in": 68, "rejected": {"arity": 8}, "count": 3}
    database.push_xcom("open_one", "night", "await_preprocess", facts, key="shard_stats")
    completed = job("preprocess", status="Completed")
    database.push_xcom("open_one", "night", "await_preprocess", completed, key="job")
    yield database
    database.clear()


def test_before_a_clear_the_figures_are_there(read: Pages, ran: Database) -> None:
    assert "68 11.8% $0.0192" in read(LIST)
    text = read(RUN)
    assert "60 scored" in text
    assert "60 rows in 2 files" in text
    assert "2 × ml.m5.xlarge" in text


def test_a_run_cleared_as_a_whole_begins_again_without_figures(read: Pages, ran: Database) -> None:
    ran.clear_tasks("open_one", "night", TASKS)
    for address in (LIST, "./"):
        text = read(address)
        assert "queued" in text
        assert "$0.0192" not in text
    assert "There is no plan yet." in read(RUN)


def test_a_run_cleared_from_a_task_on_keeps_the_figures_of_those_before_it(
    read: Pages, ran: Database
) -> None:
    ran.clear_tasks("open_one", "night", ("publish", "clean_up"))
    text = read(RUN)
    assert "records in" in text
    assert "Nothing is published yet" in text
    assert "2 × ml.m5.xlarge" in text, "the job that has not been cleared"
    assert "$0.0192" not in read(LIST)
    ran.clear_tasks("open_one", "night", ("await_preprocess",))
    assert "records in" not in read(RUN)


def test_the_report_of_the_attempt_before_is_not_handed_out(
    browser: Callable[[str | None], TestClient], ran: Database
) -> None:
    ran.clear_tasks("open_one", "night", ("clean_up",))
    answer = browser("viewer").get("file?name=report.html&dag_id=open_one&run_id=night")
    assert answer.status_code == 404
    assert "This run has no report.html." in answer.text


def test_a_job_of_the_attempt_before_is_not_shown(read: Pages, ran: Database) -> None:
    ran.clear_tasks("open_one", "night", [task for task in TASKS if task != "plan"])
    assert "2 × ml.m5.xlarge churn-preprocess" not in read(RUN)
    assert "Clusters" not in read(RUN)


def test_until_clean_up_starts_again_its_outcome_of_the_attempt_before_is_none_of_the_run(
    browser: Callable[[str | None], TestClient], read: Pages, ran: Database
) -> None:
    """As after a clear of one task without what follows it: `clean_up` stays a success."""
    told = RunOutcome(kind="failed", headline="The model is gone.", failed_task="publish", dollars=0.75)
    ran.push_xcom("open_one", "night", "clean_up", told.to_xcom(), key="outcome")
    assert "$0.75" in read(LIST)
    ran.change_run("open_one", "night", state="running", end_date=None)
    for address in (LIST, "./"):
        assert "$0.75" not in read(address)
    text = read(RUN)
    assert "$0.75" not in text
    assert "report.html" not in text
    assert "There is no report" not in text
    assert browser("viewer").get("file?name=report.html&dag_id=open_one&run_id=night").status_code == 404


@pytest.mark.parametrize(
    "state", ["scheduled", "queued", "restarting", "removed", "upstream_failed", "skipped"]
)
def test_what_a_cleared_task_handed_on_before_does_not_count_wherever_it_got_without_running(
    read: Pages, ran: Database, state: str
) -> None:
    ran.set_state("open_one", "night", "clean_up", state)
    ran.set_state("open_one", "night", "publish", state)
    assert "$0.0192" not in read(LIST)
    assert "60 rows" not in read(RUN)


@pytest.mark.parametrize(
    "state", ["running", "failed", "up_for_retry", "deferred", "awaiting_input", "success"]
)
def test_what_a_task_handed_on_in_the_try_that_stands_counts_in_whatever_state_it_is(
    read: Pages, ran: Database, state: str
) -> None:
    ran.set_state("open_one", "night", "clean_up", state)
    assert "$0.0192" in read(LIST)
    assert "60 scored" in read(RUN)


@pytest.mark.parametrize("state", ["scheduled", "queued"])
def test_what_a_task_handed_on_before_it_waited_counts_while_it_is_resumed(
    read: Pages, ran: Database, state: str
) -> None:
    """Airflow schedules it like one that never ran, but keeps what it handed on."""
    ran.set_state("open_one", "night", "await_preprocess", state, next_method="execute_complete")
    assert "1 min 40 s" in read(RUN)
    ran.set_state("open_one", "night", "await_preprocess", state)
    assert "1 min 40 s" not in read(RUN)
