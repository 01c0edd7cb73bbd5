"""Instances of a type: requests share its vCPUs, containers above its memory are killed, a metric says how much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from tests.integration.local_aws.runner.harness import Aws, RunnerResult

SLEEPER_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local/sleeper:1"
OUT_OF_MEMORY = (
    "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
    "instance."
)
NO_TRIES = {"InvocationsTimeoutInSeconds": 10, "InvocationsMaxRetries": 0}


def transform(
    aws: Aws, instance_type: dict[str, Any], *, concurrency: int = 4, objects: int = 8, **changes: Any
) -> RunnerResult:
    """A transform of objects of one record on the sleeper, whose variables come in the job's Environment."""
    aws.put_all({f"in/{number}": "1\n" for number in range(objects)})
    settings = {"instance_types": {"ml.m5.large": instance_type}, **changes.pop("settings", {})}
    return aws.transform(
        [{"Image": SLEEPER_IMAGE}],
        settings=settings,
        transform_input={"SplitType": "Line"},
        MaxConcurrentTransforms=concurrency,
        **changes,
    )


def get_memory_maxima(aws: Aws, namespace: str = "/aws/sagemaker/TransformJobs") -> dict[str, float]:
    """Percent by instance, read as any client does: ListMetrics, then GetMetricData."""
    cloudwatch = boto3.client(
        "cloudwatch",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id="t",
        aws_secret_access_key="t",
    )
    now = datetime.now(UTC)
    found = {}
    for metric in cloudwatch.list_metrics(Namespace=namespace, MetricName="MemoryUtilization")["Metrics"]:
        host = metric["Dimensions"][0]["Value"]
        if not host.startswith(f"{aws.job}/"):
            continue
        stat = {"Metric": metric, "Period": 60, "Stat": "Maximum"}
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "m", "MetricStat": stat}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
        )
        found[host.removeprefix(f"{aws.job}/")] = max(answer["MetricDataResults"][0]["Values"])
    return found


@pytest.mark.parametrize(
    ("instance_type", "seconds"),
    [
        ({"vcpus": 4}, 1.8),
        ({"vcpus": 2}, 3.6),  # four in flight on two vCPUs: each at half the rate
        ({"vcpus": 4, "speed": 0.5}, 3.6),
        ({"speed": 0.25}, 7.2),
    ],
)
def test_requests_slow_each_other_down_above_the_vcpus(
    aws: Aws, instance_type: dict[str, Any], seconds: float
) -> None:
    """Eight requests of 0.9 s on one vCPU of speed 1, four at a time.

    Half of it again is half way to a type at half the rate. A busy machine may need longer once, but not each time.
    """
    for _ in range(5):
        ended = transform(aws, instance_type, Environment={"SLEEPER_SECONDS_PER_REQUEST": "0.9"})
        assert ended.outcome == ("Completed", None)
        busy = ended.instances[0]["busy_seconds"]
        assert busy >= seconds
        if busy < 1.5 * seconds:
            return
    pytest.fail(f"busy for {busy} s")


def test_a_request_that_is_slowed_beyond_the_timeout_fails(aws: Aws) -> None:
    """Of itself it takes 5 s; twelve at once on one vCPU take 60 s each, and the timeout is 10 s."""
    environment = {"SLEEPER_SECONDS_PER_REQUEST": "5"}
    ended = transform(aws, {"vcpus": 1}, objects=1, Environment=environment, ModelClientConfig=NO_TRIES)
    assert ended.outcome == ("Completed", None)
    ended = transform(
        aws,
        {"vcpus": 1},
        objects=12,
        concurrency=12,
        Environment=environment,
        ModelClientConfig=NO_TRIES,
    )
    assert ended.outcome == ("Failed", "AlgorithmError: See job logs for more information")
    assert sorted(aws.data_log()) == sorted(
        f"{aws.bucket}/in/{number}: Model server did not respond to /invocations request within 10 seconds"
        for number in range(12)
    )


# A record in flight holds 40 MB: two of them fit into 128 MB beside the server, six do not.
FORTY_MB = {"SLEEPER_MB_PER_RECORD": "40"}


def test_containers_below_the_memory_are_measured(aws: Aws) -> None:
    """They hold it for 10 s: the runner looks every 0.05 s, and less often on a busy machine."""
    environment = {**FORTY_MB, "SLEEPER_SECONDS_PER_RECORD": "10"}
    ended = transform(aws, {"memory_mb": 128}, concurrency=2, objects=2, Environment=environment)
    assert ended.outcome == ("Completed", None)
    (host, percent), *others = get_memory_maxima(aws).items()
    assert not others
    assert 62.5 < percent <= 100
    (stream,) = (name for name in aws.log_lines("transform") if not name.endswith("/data-log"))
    assert stream.startswith(f"{aws.job}/{host}-")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, OUT_OF_MEMORY),
        (
            {"out_of_memory": "InternalServerError"},
            "InternalServerError: We encountered an internal error.  Please try again.",
        ),
    ],
)
def test_containers_above_the_memory_are_killed(aws: Aws, settings: dict[str, Any], reason: str) -> None:
    environment = {**FORTY_MB, "SLEEPER_SECONDS_PER_RECORD": "600"}
    ended = transform(
        aws, {"memory_mb": 128}, concurrency=6, objects=6, settings=settings, Environment=environment
    )
    assert ended.outcome == ("Failed", reason)
    lines = {line.partition(": ")[2] for line in aws.data_log()}
    assert lines == ({"Unable to get response from algorithm"} if not settings else set())
    assert max(get_memory_maxima(aws).values()) == 100


def test_a_processing_container_above_the_memory_is_killed_with_all_that_it_started(aws: Aws) -> None:
    hog = "memory = b'1' * 200_000_000; import time; time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hog!r}])"
    settings = {"instance_types": {"ml.m5.large": {"memory_mb": 100}}}
    ended = aws.processing(["python3", "-c", code], settings=settings)
    assert ended.outcome == ("Failed", OUT_OF_MEMORY)
    assert get_memory_maxima(aws, "/aws/sagemaker/ProcessingJobs") == {"algo-1": 100}


def test_a_type_that_is_not_listed_has_no_limit_and_no_metric(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    # At the speed of the other type it would take 300 s.
    ended = aws.transform(
        [{"Image": SLEEPER_IMAGE}],
        settings={"instance_types": {"ml.c5.large": {"memory_mb": 1, "speed": 0.001}}},
        transform_input={"SplitType": "Line"},
        Environment={"SLEEPER_SECONDS_PER_REQUEST": "0.3", "SLEEPER_MB_PER_RECORD": "20"},
    )
    assert ended.outcome == ("Completed", None)
    assert ended.instances[0]["busy_seconds"] < 150
    assert get_memory_maxima(aws) == {}
