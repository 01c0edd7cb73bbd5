"""Many clients at once: names stay unique, quotas hold, every job ends."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from batch_inference.common.s3_uri import split_s3_uri
from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import processing_request, wait_until_ended
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only


def _outcome(client: Any, request: dict[str, Any]) -> str:
    try:
        client.create_processing_job(**request)
    except client.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "created"


def test_one_of_many_creates_with_one_name_wins(aws: Aws, sagemaker: Any, name: str) -> None:
    """The others meet ResourceInUse, whatever the case of their letters."""
    requests = [processing_request(name if number % 2 else name.upper()) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(lambda request: _outcome(sagemaker, request), requests))
    assert outcomes == {"created": 1, "ResourceInUse": 15}


def test_a_quota_holds_against_creates_that_come_at_once(start_server: Any, name: str) -> None:
    """Never more instances than allowed, and all of them when as many are asked for."""
    server = start_server({**FAST, "processing_instances_quota": 5})
    client = server.client("sagemaker")
    requests = [processing_request(f"{name}-{number}", Environment={"SECONDS": "60"}) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(lambda request: _outcome(client, request), requests))
    assert outcomes == {"created": 5, "ResourceLimitExceeded": 11}


def test_twenty_jobs_at_once_all_end_and_are_read_meanwhile(aws: Aws, sagemaker: Any, name: str) -> None:
    """Describe and List answer while they run; each ends as it was told to."""
    statuses = ["Completed", "Failed", "Stopped", "Completed"] * 5
    for number, status in enumerate(statuses):
        environment = {"STATUS": status, "SECONDS": "0.3"}
        sagemaker.create_processing_job(**processing_request(f"{name}-{number:02}", Environment=environment))
    deadline = time.monotonic() + 60
    listed: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        listed = sagemaker.list_processing_jobs(NameContains=name, MaxResults=100)["ProcessingJobSummaries"]
        if all("ProcessingEndTime" in job for job in listed):
            break
    assert [job["ProcessingJobStatus"] for job in listed] == statuses
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=f"{name}-00")
    assert last["ProcessingJobStatus"] == "Completed"


def test_one_of_many_conditional_writes_to_one_key_wins(s3: Any, s3_prefix: str) -> None:
    """Each is large, so that moto reads the body of one while it has checked the condition of another."""
    bucket, folder = split_s3_uri(s3_prefix)

    def write(key: str) -> str:
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 500_000, IfNoneMatch="*")
        except s3.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return "written"

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            outcomes = Counter(pool.map(write, [f"{folder}{number}"] * 8))
            assert outcomes["written"] == 1
            assert outcomes["written"] + outcomes["PreconditionFailed"] == 8
