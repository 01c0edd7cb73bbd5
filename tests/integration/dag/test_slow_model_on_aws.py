"""A slow model on an AWS that runs the jobs, with the timeout, retries and environment of its pipeline file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batch_inference.planning.plan import Plan
from batch_inference.requests.sagemaker import (
    JOB_NAME_TOKEN,
    build_config,
    build_planned_requests,
    replace_tokens,
)
from sagemaker_jobs.failure.reasons import choose_advice, classify_failure_reason
from tests.integration.local_aws.api.requests import wait_until_ended
from tests.integration.local_aws.servers import Server, run_server
from tests.unit.builders import pipeline, plan

pytestmark = pytest.mark.local_only

MODEL = {
    "containers": [
        {"image": "local/sleeper:1", "environment": {"SLEEPER_SECONDS_PER_REQUEST": "0", "LEFT": "alone"}}
    ]
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded AWS whose instances have one vCPU, so that requests at the same time slow each other down."""
    settings = {
        "provisioning_seconds": 0,
        "runner.log_flush_seconds": 0.1,
        "runner.retry_backoff_seconds": 0.01,
        "runner.instance_types": {"ml.m5.xlarge": {"vcpus": 1}},
    }
    with run_server(tmp_path_factory.mktemp("aws"), settings) as found:
        found.client("s3").create_bucket(Bucket="data")
        yield found


def transform(server: Server, name: str, **changes: Any) -> tuple[Plan, dict[str, Any]]:
    """The plan of a pipeline with this `transform`, and the description of its job over three shards, once it ended."""
    made = pipeline({"model": MODEL, **{f"transform.{key}": value for key, value in changes.items()}})
    planned = plan([3_000_000], of=made)
    source = f"s3://data/{name}/features/"
    values = {"base_name": name, "model_name": name, "source_uri": source, "instance_count": 1}
    config = build_config(build_planned_requests(made, planned), "transform", values)
    for shard in range(3):
        server.client("s3").put_object(Bucket="data", Key=f"{name}/features/{shard}.csv", Body=b"1,2\n")
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(**config["Model"])
    sagemaker.create_transform_job(**replace_tokens(config["Transform"], {JOB_NAME_TOKEN: name}))
    return planned, wait_until_ended(sagemaker.describe_transform_job, seconds=60, TransformJobName=name)


def get_requests(server: Server, name: str) -> int:
    """How many requests the job sent."""
    (job,) = server.local("GET", f"usage?name_contains={name}")["jobs"]
    return sum(each["requests"] for each in job["instances"])


def read_data_log(server: Server, name: str) -> list[str]:
    """What the service logged of the job's objects."""
    logs, group = server.client("logs"), "/aws/sagemaker/TransformJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    return [
        event["message"].partition(": ")[2].partition(": ")[2]
        for stream in streams
        if stream["logStreamName"].endswith("/data-log")
        for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"][
            1:
        ]
    ]


def test_a_file_that_states_nothing_has_sagemakers_limits(server: Server) -> None:
    planned, job = transform(server, "plain", environment={"SLEEPER_SECONDS_PER_REQUEST": "0.3"})
    assert job["TransformJobStatus"] == "Completed"
    assert job["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 600, "InvocationsMaxRetries": 3}
    assert any("waits 600 s" in text and "SageMaker's default" in text for text in planned.sentences)
    assert get_requests(server, "plain") == 3


def test_a_request_is_given_up_after_the_timeout_of_the_file_and_its_retries(server: Server) -> None:
    """Alone a request takes 1.5 s, and the file allows 1 s and one more try."""
    slow = {"SLEEPER_SECONDS_PER_REQUEST": "1.5"}
    _, job = transform(
        server, "late", environment=slow, timeout_seconds=1, retries=1, max_concurrent_transforms=1
    )
    assert job["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 1}
    assert (job["TransformJobStatus"], job["FailureReason"]) == (
        "Failed",
        "AlgorithmError: See job logs for more information",
    )
    assert get_requests(server, "late") == 6
    lines = read_data_log(server, "late")
    assert lines == ["Model server did not respond to /invocations request within 1 seconds"] * 3
    advice = choose_advice(classify_failure_reason(job["FailureReason"]), lines)
    assert "Raise InvocationsTimeoutInSeconds" in advice


def test_a_longer_timeout_or_fewer_requests_at_a_time_let_the_slow_model_answer(server: Server) -> None:
    """What the advice says: three requests at once on one vCPU take 1.8 s each, one at a time 0.6 s."""
    slow = {"environment": {"SLEEPER_SECONDS_PER_REQUEST": "0.6"}, "retries": 0}
    for name, changes, status in (
        ("crowded", {"timeout_seconds": 1, "max_concurrent_transforms": 3}, "Failed"),
        ("patient", {"timeout_seconds": 60, "max_concurrent_transforms": 3}, "Completed"),
        ("single", {"timeout_seconds": 1, "max_concurrent_transforms": 1}, "Completed"),
    ):
        _, job = transform(server, name, **slow, **changes)
        assert job["TransformJobStatus"] == status, name
        assert get_requests(server, name) == 3


def test_the_environment_of_the_file_goes_over_that_of_the_model(server: Server) -> None:
    """The model's own variable says 0 s; the transform lasts as long as the job's says."""
    planned, job = transform(
        server, "env", environment={"SLEEPER_SECONDS_PER_REQUEST": "0.5"}, max_concurrent_transforms=1
    )
    assert job["Environment"] == {"SLEEPER_SECONDS_PER_REQUEST": "0.5"}
    (usage,) = server.local("GET", "usage?name_contains=env")["jobs"]
    assert usage["busy_seconds"] >= 1.5
    assert any(
        "get SLEEPER_SECONDS_PER_REQUEST from transform.environment" in text for text in planned.sentences
    )
