"""A failed run says why: in the log of the failed task, in XCom and in `clean_up`, as Airflow's API gives them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.dag.failure_report import LINE_WIDTH
from batch_inference.run.failures import Failure
from batch_inference.run.outcomes import RunOutcome
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.moody import BUCKET, POISON, build_pipeline_change, lines, poison_records, records

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

MODEL, COLUMN, BUDGET = "reasons_model", "reasons_column", "reasons_budget"
FAILED_TASKS = {MODEL: "await_transform", COLUMN: "await_preprocess", BUDGET: "plan"}


@dataclass(frozen=True, slots=True)
class FailedRun:
    """What Airflow's API has of a failed run: events of the logs of two tasks, and the XComs of both."""

    log: list[dict[str, Any]]
    clean_up_log: list[dict[str, Any]]
    failure: Failure
    outcome: RunOutcome

    @property
    def lines(self) -> list[str]:
        """The lines that the failed task logged as errors."""
        return [str(event["event"]) for event in self.log if event.get("level") == "error"]


@pytest.fixture(scope="module")
def failed(deployment: Deployment) -> dict[str, FailedRun]:
    """A model that raises, an object with a misspelt column that `plan` does not sample, and a budget too small."""

    def put(key: str, content: bytes) -> None:
        deployment.s3.put_object(Bucket=split_s3_uri(BUCKET)[0], Key=f"records/in/{key}", Body=content)

    rows = records("r", 400)
    put(f"{MODEL}/all.csv", lines(poison_records(rows, 17, 200)))
    put(f"{BUDGET}/all.csv", lines(rows))
    for number, (header, some) in enumerate((("id,x,y", rows), ("id,xx,y", rows[:9]), ("id,x,y", rows))):
        put(f"{COLUMN}/{number}.csv", lines([header, *some]))
    columns = build_pipeline_change(COLUMN, "sound")

    def with_header(document: dict[str, Any]) -> None:
        columns(document)
        document["input"]["header"] = True

    strict = {"on_bad_records": "fail"}
    deployment.write_pipeline(MODEL, build_pipeline_change(MODEL, "refuses a record", transform=strict))
    deployment.write_pipeline(BUDGET, build_pipeline_change(BUDGET, "sound", goals={"budget": 0.000001}))
    deployment.write_pipeline(COLUMN, with_header)
    with ThreadPoolExecutor(len(FAILED_TASKS)) as pool:
        runs = pool.map(lambda name: run(deployment, name), FAILED_TASKS)
        return dict(zip(FAILED_TASKS, runs, strict=True))


def run(deployment: Deployment, name: str) -> FailedRun:
    """Run the pipeline, which fails, and read what the API has of it."""
    deployment.unpause(name)
    run_id = deployment.trigger(name, {})
    assert deployment.wait(name, run_id) == "failed"
    task, path = FAILED_TASKS[name], f"{deployment.run_path(name, run_id)}/taskInstances"

    def read_log(task_id: str) -> list[dict[str, Any]]:
        # A sensor whose process ends late is tried once more.
        tries = deployment.airflow.api.call("GET", f"{path}/{task_id}")["try_number"]
        found = deployment.airflow.api.call("GET", f"{path}/{task_id}/logs/{tries}?full_content=true")
        return list(found["content"])

    def read_xcom(task_id: str, key: str) -> dict[str, Any]:
        value = deployment.airflow.api.call("GET", f"{path}/{task_id}/xcomEntries/{key}")["value"]
        return dict(json.loads(value) if isinstance(value, str) else value)

    return FailedRun(
        log=read_log(task),
        clean_up_log=read_log("clean_up"),
        failure=Failure.model_validate(read_xcom(task, "failure")),
        outcome=RunOutcome.model_validate(read_xcom("clean_up", "outcome")),
    )


@pytest.mark.parametrize("name", FAILED_TASKS)
def test_the_log_is_a_paragraph_and_the_exception_a_sentence(failed: dict[str, FailedRun], name: str) -> None:
    """Lines that can be read; one short exception, without the message a second time and without our frames."""
    found = failed[name]
    assert found.lines[0] in found.failure.message
    assert max(len(line) for line in found.lines if " " in line.strip()) <= LINE_WIDTH
    raised = [detail for event in found.log for detail in event.get("error_detail") or []]
    assert len(raised) == 1, [detail["exc_value"] for detail in raised]
    assert found.failure.headline in raised[0]["exc_value"]
    assert len(raised[0]["exc_value"]) < 400
    ours = [frame["filename"] for frame in raised[0]["frames"] if "/batch_inference/" in frame["filename"]]
    assert all(file.endswith(("failure_report.py", "planned_jobs.py", "task_functions.py")) for file in ours)


@pytest.mark.parametrize("name", FAILED_TASKS)
def test_clean_up_names_the_task_that_failed_and_its_reason(failed: dict[str, FailedRun], name: str) -> None:
    """And what to do; not what could not start."""
    found = failed[name]
    assert (found.outcome.kind, found.outcome.failed_task) == ("failed", FAILED_TASKS[name])
    assert (found.outcome.headline, found.outcome.advice) == (found.failure.headline, found.failure.advice)
    said = "\n".join(str(event.get("event")) for event in found.clean_up_log)
    assert " ".join(found.failure.headline.split()[:6]) in " ".join(said.split())
    assert "upstream_failed" not in said


def test_a_model_that_raises_is_quoted_once_with_its_line(failed: dict[str, FailedRun]) -> None:
    """The traceback's last line, the file, and one traceback however many requests and objects failed."""
    found = failed[MODEL]
    assert f"ValueError: x is {POISON}, allowed is 0 or more" in found.failure.headline
    assert "its log says which object" in str(found.failure.advice)
    assert "\n".join(found.failure.log_lines).count("Traceback (most recent call last)") <= 1
    assert sum("Traceback (most recent call last)" in line for line in found.lines) <= 1
    assert len(found.failure.log_lines) <= 30
    assert found.failure.job_name
    assert found.failure.log_group == "/aws/sagemaker/TransformJobs"


def test_a_misspelt_column_is_no_fault_of_the_code(failed: dict[str, FailedRun]) -> None:
    """What was found, what is allowed, and the name that was meant."""
    found = failed[COLUMN].failure
    assert "1.csv: the header has unknown column 'xx'; the pipeline names id, x, y" in found.headline
    assert "Correct the object that is named" in str(found.advice)
    assert "code in the container" not in found.message


def test_a_budget_that_is_too_small_says_what_the_run_would_cost(failed: dict[str, FailedRun]) -> None:
    """No job, no traceback of ours."""
    found = failed[BUDGET].failure
    assert "budget" in found.headline
    assert (found.error, found.job_name, found.log_lines) == ("NoClustersError", None, ())
