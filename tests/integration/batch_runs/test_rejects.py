"""The rejects of a run in hand: examples on its page, and all of them as a download, with the rights of the DAG."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_runs import figures, run_files
from tests.integration.batch_runs.database import Database
from tests.unit.builders import plan

Pages = Callable[[str], str]
Browser = Callable[[str | None], TestClient]
ROOT = "s3://bucket/work/open_one/"
EXAMPLE = {
    "source": "s3://data/in/a.csv", "line": 7, "record": 6, "found": "'x'", "allowed": "a number", "text": "<b>x</b>,1",
}  # fmt: skip
GROUPS: list[dict[str, Any]] = [
    {"rule": "type", "column": "age", "records": 18_000, "examples": [EXAMPLE] * 5},
    {"rule": "arity", "column": "", "records": 1_000, "examples": []},
]
RESPONSE = {**EXAMPLE, "found": "ValueError: age is negative", "allowed": ""}


@pytest.fixture(scope="module", autouse=True)
def runs(database: Database, storage: Storage) -> None:
    """Failed runs, each with its rejects below its own prefix; of `elsewhere` the XCom names another pipeline's."""
    database.add_dag("open_one")
    planned = plan([20_000_000] * 2).to_xcom()

    def add(
        run_id: str, groups: list[dict[str, Any]], root: str = "", withheld: tuple[str, ...] = ()
    ) -> None:
        root = root or f"{ROOT}{run_id}/"
        document = {
            "version": 1, "records_in": 20_000, "withheld_columns": withheld, "reject_groups": groups,
        }  # fmt: skip
        storage.write_json(f"{root}pre/rejects.json", document)
        for host in (1, 2):
            text = f'{{"record": {host}}}\n' if groups else ""
            storage.write(f"{root}pre/rejects/algo-{host}-00000.jsonl", text)
        database.add_runs("open_one", [run_id], state="failed")
        database.add_tasks("open_one", run_id, {"plan": "success", "await_preprocess": "failed"})
        database.push_xcom("open_one", run_id, "plan", planned)
        stats = {
            "preprocess_job": "pre", "records_in": 20_000, "count": 3,
            "rejected": {group["rule"]: group["records"] for group in groups},
            "reject_summary": f"{root}pre/rejects.json",
        }  # fmt: skip
        database.push_xcom("open_one", run_id, "await_preprocess", stats, key="shard_stats")

    add("many", GROUPS)
    add("none", [])
    add(
        "sensitive",
        [{**GROUPS[0], "examples": [{**EXAMPLE, "found": None, "text": None}]}],
        withheld=("age",),
    )
    add("elsewhere", GROUPS, root="s3://bucket/work/open_two/night/")
    add("gone", GROUPS)
    storage.delete([f"{ROOT}gone/pre/rejects.json"])
    refused = f"{ROOT}refused/transform/"
    group = {"rule": "refused by the model", "column": "", "records": 2, "examples": [RESPONSE]}
    storage.write_json(f"{refused}mended.json", {"version": 1, "reject_groups": [group]})
    storage.write(f"{refused}rejects/algo-1-00000.jsonl", '{"record": 9}\n')
    job = {
        "job_name": "transform", "status": "Completed", "instance_type": "ml.m5.xlarge", "instance_count": 1,
        "created_at": 1.0, "started_at": 2.0, "ended_at": 3.0,
        "resolution": {"document": f"{refused}mended.json", "refused": 2, "rejects": f"{refused}rejects/"},
    }  # fmt: skip
    add("refused", GROUPS[1:])
    database.add_tasks("open_one", "refused", {"transform": "success", "await_transform": "success"})
    submitted = {"Transform": {"TransformJobName": "transform"}}
    database.push_xcom("open_one", "refused", "transform", submitted)
    database.push_xcom("open_one", "refused", "await_transform", job)


def run(run_id: str) -> str:
    return f"run?dag_id=open_one&run_id={run_id}"


def file(run_id: str, name: str = "rejects.jsonl") -> str:
    return f"file?dag_id=open_one&run_id={run_id}&name={name}"


def test_a_failed_run_shows_its_rejects_by_reason_and_column_with_examples(read: Pages) -> None:
    """What the person needs most of a run that failed on max_rejected."""
    text = read(run("many"))
    assert "95% of the records: 19,000 of 20,000 · rejects.jsonl (download)" in text
    assert "type age 18,000 90% arity – 1,000 5%" in text
    assert "5 examples of: type, age" in text
    assert "line 7 of a.csv 'x' a number <b>x</b>,1" in text


def test_records_that_the_model_refused_are_among_them(read: Pages, browser: Browser) -> None:
    text = read(run("refused"))
    assert "refused by the model – 2" in text
    assert "ValueError: age is negative" in text
    lines = browser("viewer").get(file("refused")).text.splitlines()
    assert [json.loads(line)["record"] for line in lines] == [1, 2, 9]


def test_all_rejects_are_one_download_that_no_browser_runs(browser: Browser) -> None:
    answer = browser("viewer").get(file("many"))
    assert answer.text == '{"record": 1}\n{"record": 2}\n'
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rejects.jsonl"'
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("run_id", "sentence"),
    [
        ("none", "This run has no rejects.jsonl."),
        ("gone", "This run has no rejects.jsonl."),
        ("sensitive", "values of the sensitive columns age, so Airflow does not hand them out"),
        ("elsewhere", "This run has no rejects.jsonl."),
    ],
)
def test_rejects_that_are_not_handed_out_say_why(browser: Browser, run_id: str, sentence: str) -> None:
    answer = browser("viewer").get(file(run_id))
    assert answer.status_code == 404
    assert sentence in answer.text


def test_a_pipeline_with_sensitive_columns_shows_counts_and_no_values(read: Pages) -> None:
    text = read(run("sensitive"))
    assert "type age 18,000 90%" in text
    assert "line 7 of a.csv withheld a number" in text
    assert "rejects.jsonl (download)" not in text


def test_an_xcom_cannot_lead_to_the_rejects_of_another_pipeline(read: Pages) -> None:
    text = read(run("elsewhere"))
    assert "but the run files of the pipeline are below s3://bucket/work/open_one/" in text
    assert "'x'" not in text
    assert "arity 1,000 5%" in text, "the counts are the run's own"


def test_examples_that_are_gone_leave_the_counts(read: Pages) -> None:
    """Run files are deleted after keep_runs_days."""
    text = read(run("gone"))
    assert "type 18,000 90%" in text
    assert "cannot be read" not in text


def test_a_file_that_is_none_of_a_run_s_is_not_found(browser: Browser) -> None:
    answer = browser("viewer").get(file("many", "plan.json"))
    assert answer.status_code == 404
    assert "allowed are report.html, report.json, checks.json, rejects.jsonl" in answer.text


def test_too_large_a_download_names_the_command_that_copies_it(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "MAX_DOWNLOAD_BYTES", 5)
    answer = browser("viewer").get(file("many"))
    assert answer.status_code == 404
    assert f"aws s3 cp --recursive {ROOT}many/pre/rejects/ ." in answer.text


@pytest.mark.parametrize("name", ["rejects.jsonl", "report.json"])
def test_an_s3_that_does_not_answer_in_time_is_not_said_to_have_no_file(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def time_out(*_: Any, **__: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="https://s3")

    monkeypatch.setattr(
        figures,
        "load_figures",
        lambda *_: figures.Figures(plan=None, outcome=None, report=None, is_complete=False),
    )
    monkeypatch.setattr(
        figures, "_read_xcoms", lambda *_: {("clean_up", "return_value"): {"report_json": ROOT}}
    )
    monkeypatch.setattr(Storage, "head", time_out)
    answer = browser("viewer").get(file("many", name))
    assert answer.status_code == 503
    assert "is not there yet" in answer.text
