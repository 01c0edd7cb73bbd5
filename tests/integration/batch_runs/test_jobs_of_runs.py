"""A run's page knows how far its jobs are, asks AWS seldom, and leads to the jobs where a console has them."""

from __future__ import annotations

import html
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ConnectTimeoutError
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_runs import jobs, links
from tests.integration.batch_runs.database import Database
from tests.unit.builders import plan

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
        "open_one", "going", {"plan": "success", "preprocess": "success", "await_preprocess": "deferred"}
    )
    database.push_xcom("open_one", "going", "plan", plan([20_000_000] * 2).to_xcom())
    database.push_xcom("open_one", "going", "preprocess", {"Processing": SUBMITTED})
    where = {"region_name": "eu-central-1", "aws_domain": "aws.amazon.com", "job_name": JOB}
    database.push_xcom("open_one", "going", "preprocess", where, key="sagemaker_processing_job_details")


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
    monkeypatch.setattr("batch_runs.jobs.SageMakerHook", Aws)
    monkeypatch.setattr("batch_runs.jobs.get_client", Aws.get_conn)
    monkeypatch.setattr("batch_runs.jobs.DESCRIBE_INTERVAL_SECONDS", 10**9)
    pages = [view() for _ in range(5)]
    assert Aws.asked == 1
    for page in pages:
        assert "Preprocess runs on 2 instances." in page
        assert "4 min 00 s" in page
        assert 'data-live="yes"' in page


def test_an_aws_that_knows_no_such_job_is_said_to_be_one(view: Callable[[], str]) -> None:
    """The rest of the page is shown all the same."""
    page = view()
    assert f"The state of {JOB} is unknown" in page
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
    monkeypatch.setattr("batch_runs.links.open_storage", lambda _: types.SimpleNamespace(client=client))
    address = (
        f'href="https://console.aws.amazon.com/sagemaker/home?region=eu-central-1#/processing-jobs/{JOB}"'
    )
    assert (address in view()) is linked


def test_the_canary_and_the_transform_after_it_are_both_linked_to_the_console(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each once: the task that submits a job stores the same link as the one that waits for it."""

    def read(_session: Any, _run: Any, keys: list[tuple[str, str]]) -> dict[tuple[str, str], dict[int, Any]]:
        where = {"region_name": "eu-central-1", "aws_domain": "aws.amazon.com"}
        return {
            (task, key): {-1: {**where, "job_name": task.removeprefix("await_")}}
            for task, key in keys
            if task in ("transform_canary", "transform", "await_transform")
        }

    monkeypatch.setattr(links, "read_mapped_xcoms", read)
    found = links.group_by_stage(links.read_console_links(None, None))  # type: ignore[arg-type]
    addresses = [link.href for link in found["transform"]]
    for task in ("transform_canary", "transform"):
        assert sum(address.endswith(f"/transform-jobs/{task}") for address in addresses) == 1, addresses
    assert found.keys() == {"transform"}


def transform_of(number: int) -> dict[str, Any]:
    """The request of one of several transform jobs."""
    resources = {"InstanceCount": 1, "InstanceType": "ml.m5.large"}
    return {"TransformJobName": f"churn-transform-{number}", "TransformResources": resources}


class AwsWithSeveralJobs:
    """SageMaker's hook: each job has run for a minute."""

    asked: ClassVar[list[str]] = []

    def __init__(self, **_: Any) -> None: ...

    def get_conn(self) -> Any:
        def describe(**request: str) -> dict[str, Any]:
            name = request["TransformJobName"]
            AwsWithSeveralJobs.asked.append(name)
            moment = datetime.now(UTC)
            return {
                **transform_of(int(name.rsplit("-", 1)[1])), "TransformJobStatus": "InProgress",
                "TransformJobArn": "arn:aws:sagemaker:x", "CreationTime": moment - timedelta(seconds=90),
                "TransformStartTime": moment - timedelta(seconds=60),
            }  # fmt: skip

        return types.SimpleNamespace(describe_transform_job=describe)


@pytest.fixture(scope="module")
def mapped(database: Database) -> Database:
    """A run of ten jobs without preprocessing, the first of which has ended."""
    database.add_runs("open_one", ["mapped"], state="running")
    database.add_tasks("open_one", "mapped", {"plan": "success"})
    database.push_xcom("open_one", "mapped", "plan", plan([20_000_000] * 2).to_xcom())
    for number in range(10):
        states = {"transform": "success", "await_transform": "deferred" if number else "success"}
        database.add_tasks("open_one", "mapped", states, map_index=number)
        submitted = {"Transform": transform_of(number)}
        database.push_xcom("open_one", "mapped", "transform", submitted, map_index=number)
    done = {
        "job_name": "churn-transform-0", "status": "Completed", "created_at": 1.0, "started_at": 2.0, "ended_at": 3.0,
        "instance_type": "ml.m5.large", "instance_count": 1, "billed_seconds": 1.0,
        "attempt": 1, "earlier_attempts": [],
    }  # fmt: skip
    database.push_xcom("open_one", "mapped", "await_transform", done, map_index=0)
    return database


@pytest.mark.usefixtures("mapped")
def test_several_jobs_of_a_mapped_transform_are_drawn_together_and_not_all_are_asked_for(
    browser: Callable[[str | None], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has ended, eight of the others are looked at."""
    monkeypatch.setattr("batch_runs.jobs.SageMakerHook", AwsWithSeveralJobs)
    monkeypatch.setattr("batch_runs.jobs.get_client", AwsWithSeveralJobs.get_conn)
    monkeypatch.setattr("batch_runs.jobs.DESCRIBE_INTERVAL_SECONDS", 10**9)
    answer = browser("viewer").get("run?dag_id=open_one&run_id=mapped")
    assert answer.status_code == 200
    page = html.unescape(answer.text)
    assert "Transform runs on 10 instances in 10 jobs." in page
    assert "Of 9 active jobs, 8 are shown with their current state." in page
    assert AwsWithSeveralJobs.asked == [f"churn-transform-{number}" for number in range(1, 9)]


def test_an_aws_that_does_not_answer_is_asked_once_and_jobs_of_an_earlier_plan_are_left_out(
    browser: Callable[[str | None], TestClient], mapped: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of the ten are listed by the plan that counts; nobody waits for three answers that do not come."""
    asked = []

    def silent(_: str, __: Any, name: str, ___: int) -> Any:
        asked.append(name)
        raise ConnectTimeoutError(endpoint_url="https://api.sagemaker")

    mapped.add_tasks("open_one", "mapped", {"write_manifests": "success"})
    mapped.push_xcom("open_one", "mapped", "write_manifests", [{"manifest": f"s3://b/{n}"} for n in range(4)])
    monkeypatch.setattr("batch_runs.jobs._describe_job", silent)
    answer = browser("viewer").get("run?dag_id=open_one&run_id=mapped")
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    assert asked == ["churn-transform-1"]
    assert page.count("The state of") == 1
    assert "4 instances in 4 jobs" in page


def test_the_objects_of_a_running_transform_are_counted(
    browser: Callable[[str | None], TestClient],
    database: Database,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that it has written, of those in its manifest; the end of the run follows from them."""
    name = "churn-transform-counted"
    resources = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge"}
    request = {"TransformJobName": name, "TransformResources": resources}
    storage.write_json("s3://bucket/shards.json", [{"prefix": "s3://bucket/shards/"}, "a", "b", "c", "d"])
    storage.write(f"s3://bucket/answers/{name}/a.out", b"1")
    storage.write(f"s3://bucket/answers/{name}/b.out", b"1")
    now = datetime.now(UTC)

    def describe_transform_job(**_: str) -> dict[str, Any]:
        source = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://bucket/shards.json"}}
        return {
            **request, "TransformJobStatus": "InProgress", "TransformJobArn": "arn:aws:sagemaker:x",
            "CreationTime": now - timedelta(seconds=90), "TransformStartTime": now - timedelta(seconds=60),
            "TransformInput": {"DataSource": source},
            "TransformOutput": {"S3OutputPath": f"s3://bucket/answers/{name}"},
        }  # fmt: skip

    client = types.SimpleNamespace(describe_transform_job=describe_transform_job)
    monkeypatch.setattr("batch_runs.jobs.get_client", lambda _: client)
    for module in ("batch_runs.jobs", "sagemaker_jobs.waiting.transform_progress"):
        monkeypatch.setattr(f"{module}.get_s3_client", lambda _: storage.client)
    monkeypatch.setattr("batch_runs.jobs.DESCRIBE_INTERVAL_SECONDS", 10**9)
    jobs._client.cache_clear()
    database.add_runs("open_one", ["counted"], state="running")
    states = {"plan": "success", "transform": "success", "await_transform": "deferred", "clean_up": None}
    database.add_tasks("open_one", "counted", states)
    database.push_xcom("open_one", "counted", "plan", plan([20_000_000] * 2).to_xcom())
    database.push_xcom("open_one", "counted", "transform", {"Transform": request})
    answer = browser("viewer").get("run?dag_id=open_one&run_id=counted")
    page = html.unescape(answer.text)
    assert '<progress value="2" max="4"' in page
    assert "2 of 4 done" in page
    assert "runs on 1 × ml.m5.xlarge" in page
    assert re.search(r"<dt>Cost</dt><dd>\$0\.00\d\d so far", page)
    jobs._client.cache_clear()
