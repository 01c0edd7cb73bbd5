"""A run's page knows how far its jobs are, asks AWS seldom, and leads to the jobs where a console has them."""

from __future__ import annotations

import html
import types
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.orchestration.storage import Storage
from tests.batch_runs.database import Database
from tests.scoring.builders import plan

PAGE = "run?dag_id=open_one&run_id=going"
JOB = "churn-preprocess-0123456789ab-deadbeef-1"
SUBMITTED = {
    "ProcessingJobName": JOB,
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.xlarge"}},
}


@pytest.fixture(scope="module", autouse=True)
def going(database: Database, storage: Storage) -> None:
    """A run whose processing job was submitted."""
    database.add_dag("open_one")
    database.add_runs("open_one", ["going"], state="running")
    database.add_tasks(
        "open_one", "going", {"plan": "success", "preprocess": "success", "preprocessed": "deferred"}
    )
    database.hand_on("open_one", "going", "plan", plan([20_000_000] * 2).for_xcom())
    database.hand_on("open_one", "going", "preprocess", {"Processing": SUBMITTED})
    where = {"region_name": "eu-central-1", "aws_domain": "aws.amazon.com", "job_name": JOB}
    database.hand_on("open_one", "going", "preprocess", where, key="sagemaker_processing_job_details")


class Aws:
    """SageMaker's hook, and how often it was asked."""

    def __init__(self, **_: Any) -> None: ...

    asked = 0

    def get_conn(self) -> Any:
        def describe(**request: str) -> dict[str, Any]:
            assert request == {"ProcessingJobName": JOB}
            Aws.asked += 1
            moment = datetime(2026, 1, 1, 2, tzinfo=UTC)
            return {
                **SUBMITTED, "ProcessingJobStatus": "InProgress", "ProcessingJobArn": "arn:aws:sagemaker:x",
                "CreationTime": moment, "ProcessingStartTime": moment.replace(minute=4),
            }  # fmt: skip

        return types.SimpleNamespace(describe_processing_job=describe)


@pytest.fixture
def view(browser: Callable[[str | None], TestClient]) -> Callable[[], str]:
    def shown() -> str:
        answer = browser("viewer").get(PAGE)
        assert answer.status_code == 200
        return html.unescape(answer.text)

    return shown


def test_a_job_that_runs_is_asked_for_once_however_many_people_look(
    view: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch_runs.figures.SageMakerHook", Aws)
    monkeypatch.setattr("batch_runs.figures.LOOK_SECONDS", 10**9)
    pages = [view() for _ in range(5)]
    assert Aws.asked == 1
    for page in pages:
        assert "Preprocess runs on 2 instances." in page
        assert "4 min 00 s" in page
        assert 'data-live="yes"' in page


def test_an_aws_that_knows_no_such_job_is_said_to_be_one(view: Callable[[], str]) -> None:
    """The rest of the page is shown all the same."""
    page = view()
    assert f"How far {JOB} is cannot be told" in page
    assert "Why this size" in page
    assert "2 × ml.m5.xlarge" in page


@pytest.mark.parametrize(
    ("endpoint", "linked"),
    [
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("http://127.0.0.1:5600", False),
        ("https://s3.amazonaws.com.evil.example", False),
    ],
)
def test_jobs_are_linked_to_the_console_where_it_has_them(
    view: Callable[[], str], monkeypatch: pytest.MonkeyPatch, endpoint: str, linked: bool
) -> None:
    client = types.SimpleNamespace(meta=types.SimpleNamespace(endpoint_url=endpoint))
    monkeypatch.setattr("batch_runs.links.storage_of", lambda _: types.SimpleNamespace(client=client))
    address = (
        f'href="https://console.aws.amazon.com/sagemaker/home?region=eu-central-1#/processing-jobs/{JOB}"'
    )
    assert (address in view()) is linked
