"""Instances of a type: requests share its vCPUs, containers above its memory are killed, a metric says how much."""

from __future__ import annotations

import time
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
NO_TRIES = {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}


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
        ({"vcpus": 4}, 0.6),
        ({"vcpus": 2}, 1.2),  # four in flight on two vCPUs: each at half the rate
        ({"vcpus": 4, "speed": 0.5}, 1.2),
        ({"speed": 0.25}, 2.4),
    ],
)
def test_requests_slow_each_other_down_above_the_vcpus(
    aws: Aws, instance_type: dict[str, Any], seconds: float
) -> None:
    """Eight requests of 0.3 s on one vCPU of speed 1, four at a time."""
    ended = transform(aws, instance_type, Environment={"SLEEPER_SECONDS_PER_REQUEST": "0.3"})
    assert ended.outcome == ("Completed", None)
    assert seconds <= ended.instances[0]["busy_seconds"] < seconds + 1


def test_a_request_that_is_slowed_beyond_the_timeout_fails(aws: Aws) -> None:
    """Of itself it takes 0.35 s; four at once on one vCPU take 1.4 s each, and the timeout is 1 s."""
    environment = {"SLEEPER_SECONDS_PER_REQUEST": "0.35"}
    ended = transform(aws, {"vcpus": 1}, objects=4, Environment=environment, ModelClientConfig=NO_TRIES)
    assert ended.outcome == ("Failed", "AlgorithmError: See job logs for more information")
    assert sorted(aws.data_log()) == [
        f"{aws.bucket}/in/{number}: Model server did not respond to /invocations request within 1 seconds"
        for number in range(4)
    ]
    ended = transform(
        aws, {"vcpus": 1}, objects=4, concurrency=2, Environment=environment, ModelClientConfig=NO_TRIES
    )
    assert ended.outcome == ("Completed", None)


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
def test_containers_above_the_memory_are_killed_and_below_it_measured(
    aws: Aws, settings: dict[str, Any], reason: str
) -> None:
    """A record in flight holds 40 MB: two of them fit into 128 MB beside the server, six do not."""
    environment = {"SLEEPER_MB_PER_RECORD": "40", "SLEEPER_SECONDS_PER_RECORD": "0.4"}
    ended = transform(
        aws, {"memory_mb": 128}, concurrency=2, objects=4, settings=settings, Environment=environment
    )
    assert ended.outcome == ("Completed", None)
    (host, percent), *others = get_memory_maxima(aws).items()
    assert not others
    assert 62.5 < percent <= 100
    (stream,) = (name for name in aws.log_lines("transform") if not name.endswith("/data-log"))
    assert stream.startswith(f"{aws.job}/{host}-")
    before = len(aws.data_log())
    began = time.monotonic()
    environment["SLEEPER_SECONDS_PER_RECORD"] = "60"
    ended = transform(
        aws, {"memory_mb": 128}, concurrency=6, objects=6, settings=settings, Environment=environment
    )
    assert ended.outcome == ("Failed", reason)
    assert time.monotonic() - began < 30
    lines = {line.partition(": ")[2] for line in aws.data_log()[before:]}
    assert lines == ({"Unable to get response from algorithm"} if not settings else set())
    assert max(get_memory_maxima(aws).values()) == 100


def test_a_processing_container_above_the_memory_is_killed_with_all_that_it_started(aws: Aws) -> None:
    hog = "memory = b'1' * 200_000_000; import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hog!r}])"
    settings = {"instance_types": {"ml.m5.large": {"memory_mb": 100}}}
    ended = aws.processing(["python3", "-c", code], settings=settings)
    assert ended.outcome == ("Failed", OUT_OF_MEMORY)
    assert get_memory_maxima(aws, "/aws/sagemaker/ProcessingJobs") == {"algo-1": 100}


def test_a_type_that_is_not_listed_has_no_limit_and_no_metric(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform(
        [{"Image": SLEEPER_IMAGE}],
        settings={"instance_types": {"ml.c5.large": {"memory_mb": 1, "speed": 0.001}}},
        transform_input={"SplitType": "Line"},
        Environment={"SLEEPER_SECONDS_PER_REQUEST": "0.3", "SLEEPER_MB_PER_RECORD": "20"},
    )
    assert ended.outcome == ("Completed", None)
    assert ended.instances[0]["busy_seconds"] < 5
    assert get_memory_maxima(aws) == {}
