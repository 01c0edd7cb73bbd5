"""What a run has published stays published on its page, also when its report is gone or was never written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from tests.integration.batch_runs.database import Database
from tests.unit.builders import pipeline_without_preprocess, plan

Pages = Callable[[str], str]
OUTPUT = "s3://data/out/date=2026-01-31/"
PUBLISHED = {
    "output_uri": OUTPUT, "manifest": f"{OUTPUT}_manifest.json", "rows": 60, "files": [f"{OUTPUT}a", f"{OUTPUT}b"],
    "partition": None,
}  # fmt: skip
TOLD = {
    "data_time": "2026-01-31T07:30:00Z", "records": {"in": 68, "rejected": 8, "scored": 60}, "seconds": 450.0,
    "billed_seconds": 300.0, "dollars": 0.0192, "report_json": "s3://bucket/work/open_one/gone/report.json",
    "report_html": "s3://bucket/work/open_one/gone/report.html",
}  # fmt: skip


def facts(**rejected: int) -> dict[str, Any]:
    """What `await_preprocess` counted."""
    return {"preprocess_job": "p", "records_in": 68, "rejected": rejected, "count": 3}


@pytest.fixture(scope="module", autouse=True)
def runs(database: Database, storage: Storage) -> None:
    """Runs that have published, without a report that can be read."""
    database.add_dag("open_one")
    planned = plan([20_000_000] * 2).to_xcom()

    def add(run_id: str, state: str = "success", reporting: str = "success", **handed_on: Any) -> None:
        database.add_runs("open_one", [run_id], state=state)
        tasks = dict.fromkeys(("plan", "await_preprocess", "publish"), "success")
        database.add_tasks("open_one", run_id, {**tasks, "clean_up": reporting})
        for task, value in {"plan": planned, "publish": PUBLISHED, **handed_on}.items():
            key = "shard_stats" if task == "await_preprocess" else "return_value"
            database.push_xcom("open_one", run_id, task, value, key=key)

    add("pruned", await_preprocess=facts(arity=5), clean_up=TOLD)
    add("released", clean_up=TOLD)
    add("alone", plan=plan([20_000_000], of=pipeline_without_preprocess()).to_xcom(),
        clean_up={**TOLD, "records": {"in": 60, "rejected": 0, "scored": 60}})  # fmt: skip
    add("report_failed", "failed", "failed", await_preprocess=facts(arity=5))
    add("nothing_known", "failed", "failed")
    add("publishing", "running", "running", await_preprocess=facts(arity=8))


def run(run_id: str) -> str:
    return f"run?dag_id=open_one&run_id={run_id}"


@pytest.mark.parametrize(
    "run_id", ["pruned", "released", "alone", "report_failed", "nothing_known", "publishing"]
)
def test_what_was_published_is_said_to_be(read: Pages, run_id: str) -> None:
    text = read(run(run_id))
    assert f"60 rows in 2 files at {OUTPUT}" in text
    assert "Nothing was published" not in text
    assert "Nothing is published yet" not in text


def test_the_task_that_published_says_what(read: Pages) -> None:
    assert f"60 rows in 2 files at {OUTPUT}" in read("task?dag_id=open_one&run_id=pruned&task_id=publish")


@pytest.mark.parametrize("run_id", ["pruned", "report_failed"])
def test_records_rejected_after_preprocessing_are_those_that_the_model_refused(
    read: Pages, run_id: str
) -> None:
    """By the summary that `report` handed on, else because as many were scored as were published."""
    text = read(run(run_id))
    assert "68 records in 60 scored 8 rejected" in text
    assert "arity 5" in text
    assert "refused by the model 3" in text


def test_records_rejected_for_reasons_that_only_the_report_has_are_not_said_to_be_none(read: Pages) -> None:
    """Of a run that a person published for a held one, which rejected them."""
    text = read(run("released"))
    assert "68 records in 60 scored 8 rejected" in text
    assert "not known here 8" in text
    assert "No record was rejected" not in text


def test_a_run_that_rejected_nothing_says_so_without_its_report_too(read: Pages) -> None:
    text = read(run("alone"))
    assert "60 records in 60 scored 0 rejected" in text
    assert "No record was rejected." in text


def test_a_run_whose_records_nobody_counted_shows_no_count_of_them(read: Pages) -> None:
    text = read(run("nothing_known"))
    assert "records in" not in text
    assert "rejected" not in text.lower()


@pytest.mark.parametrize("run_id", ["pruned", "released"])
def test_what_the_run_cost_is_said_as_in_lists_and_what_only_the_report_knew_is_unknown(
    read: Pages, run_id: str
) -> None:
    assert "5 min 00 s billed unknown idle $0.0192 cost" in read(run(run_id))


def test_a_report_that_is_gone_is_said_to_be_and_what_is_shown_in_its_place(read: Pages) -> None:
    text = read(run("pruned"))
    assert "There is no report at s3://bucket/work/open_one/gone/report.json any more" in text
    assert "HeadObject" not in text


def test_while_the_report_is_written_the_page_says_what_was_published(read: Pages) -> None:
    text = read(run("publishing"))
    assert "68 records in 60 scored 8 rejected" in text
    assert "refused by the model" not in text
