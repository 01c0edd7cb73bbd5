"""Faults on demand: named, bounded, off unless asked for."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import expect_client_error, processing_request, wait_until_ended
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import Server

pytestmark = pytest.mark.local_only


@pytest.fixture
def server(aws: Aws) -> Iterator[Server]:
    """The session's server, without faults before and after."""
    assert aws.server is not None
    aws.server.local("DELETE", "faults")
    yield aws.server
    aws.server.local("DELETE", "faults")


def test_the_next_n_calls_of_an_operation_are_throttled_and_no_others(server: Server, sagemaker: Any) -> None:
    """Then all is well again, and the fault is gone."""
    armed = server.local(
        "POST", "faults", {"kind": "throttle", "operation": "ListModels", "count": 2, "name": "t"}
    )
    assert (armed["name"], armed["count"]) == ("t", 2)
    sagemaker.list_transform_jobs()
    for left in (1, 0):
        with expect_client_error("ThrottlingException") as message:
            sagemaker.list_models()
        assert message == ["Rate exceeded"]
        assert [fault["count"] for fault in server.local("GET", "faults")["faults"]] == (
            [left] if left else []
        )
    sagemaker.list_models()


def test_botocores_own_retries_outlast_throttling(server: Server) -> None:
    """An unmodified client with its default retries does not notice two throttled calls."""
    server.local("POST", "faults", {"kind": "throttle", "operation": "ListModels", "count": 2})
    client = server.client("sagemaker", retries={"mode": "standard", "total_max_attempts": 4})
    assert client.list_models()["ResponseMetadata"]["RetryAttempts"] == 2


@pytest.mark.parametrize(("status", "code"), [(500, "InternalFailure"), (503, "ServiceUnavailable")])
def test_server_errors_can_be_asked_for(server: Server, sagemaker: Any, status: int, code: str) -> None:
    """With AWS's code and HTTP status."""
    server.local("POST", "faults", {"kind": "error", "operation": "ListModels", "status": status})
    with pytest.raises(ClientError) as caught:
        sagemaker.list_models()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    sagemaker.list_models()


def test_a_dropped_connection_does_nothing_and_answers_nothing(
    server: Server, sagemaker: Any, name: str
) -> None:
    """The client sees its connection closed; the job was never made."""
    server.local("POST", "faults", {"kind": "drop", "operation": "CreateProcessingJob"})
    with pytest.raises(ConnectionClosedError):
        sagemaker.create_processing_job(**processing_request(name))
    with expect_client_error("ValidationException"):
        sagemaker.describe_processing_job(ProcessingJobName=name)


def test_a_withheld_answer_leaves_the_job_made(server: Server, sagemaker: Any, name: str) -> None:
    """The hardest case for a client: it was accepted, and the client cannot know."""
    server.local("POST", "faults", {"kind": "withhold", "job_name_contains": name})
    with pytest.raises(ConnectionClosedError):
        sagemaker.create_processing_job(**processing_request(name))
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Completed"


def test_a_client_that_retries_a_withheld_create_meets_its_own_job(server: Server, name: str) -> None:
    """As on AWS: the retry is refused with ResourceInUse."""
    server.local("POST", "faults", {"kind": "withhold", "operation": "CreateProcessingJob"})
    client = server.client("sagemaker", retries={"mode": "standard", "total_max_attempts": 2})
    with expect_client_error("ResourceInUse"):
        client.create_processing_job(**processing_request(name))


def test_a_capacity_error_fails_the_job_before_it_starts(server: Server, sagemaker: Any, name: str) -> None:
    """With AWS's text, without a start time, and nothing billed."""
    server.local("POST", "faults", {"kind": "capacity", "job_name_contains": name})
    sagemaker.create_processing_job(**processing_request(name))
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Failed"
    assert last["FailureReason"] == (
        "CapacityError: Unable to provision requested ML compute capacity. "
        "Please retry using a different ML instance type."
    )
    assert "ProcessingStartTime" not in last
    (usage,) = server.local("GET", f"usage?name_contains={name}")["jobs"]
    assert usage["billed_seconds"] == 0


@pytest.mark.parametrize("status", [403, 500, 503])
def test_s3_fails_where_and_as_often_as_asked(
    server: Server, aws: Aws, s3: Any, s3_prefix: str, status: int
) -> None:
    """Only the operation and key that were named."""
    uri = aws.put(f"{s3_prefix}a/data", b"x")
    other = aws.put(f"{s3_prefix}b/data", b"y")
    server.local(
        "POST",
        "faults",
        {"kind": "s3_error", "operation": "GetObject", "key_contains": "/a/", "status": status},
    )
    assert aws.get(other) == b"y"
    aws.put(uri, b"z")
    with pytest.raises(ClientError) as caught:
        aws.get(uri)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert (
        caught.value.response["Error"]["Code"]
        == {
            403: "AccessDenied",
            500: "InternalError",
            503: "SlowDown",
        }[status]
    )
    assert aws.get(uri) == b"z"


def test_s3_can_be_slow(server: Server, aws: Aws, s3_prefix: str) -> None:
    """Each call it strikes takes the time asked for, and then succeeds."""
    uri = aws.put(f"{s3_prefix}slow", b"x")
    server.local("POST", "faults", {"kind": "s3_slow", "seconds": 0.5, "key_contains": "slow"})
    start = time.monotonic()
    assert aws.get(uri) == b"x"
    assert time.monotonic() - start >= 0.5


def wait_until_held(server: Server, name: str) -> None:
    """Return once the fault holds a request."""
    deadline = time.monotonic() + 30
    while not any(
        fault["name"] == name and fault["holding"] for fault in server.local("GET", "faults")["faults"]
    ):
        assert time.monotonic() < deadline, server.local("GET", "faults")
        time.sleep(0.02)


def test_a_held_answer_comes_when_the_fault_is_taken_back(server: Server, sagemaker: Any, name: str) -> None:
    """The job is made meanwhile, and whoever asked for it does not know yet."""
    server.local(
        "POST", "faults",
        {"kind": "hold", "operation": "CreateProcessingJob", "seconds": 60, "job_name_contains": name, "name": "h"},
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sagemaker.create_processing_job, **processing_request(name))
        wait_until_held(server, "h")
        assert sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobName"] == name
        assert not answer.done()
        assert server.local("DELETE", "faults?name=h") == {"disarmed": 1}
        assert answer.result(timeout=30)["ProcessingJobArn"].endswith(name)
    assert server.local("GET", "faults") == {"faults": []}
    wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)


def test_a_held_answer_comes_after_its_seconds(server: Server, sagemaker: Any) -> None:
    """Nobody needs to take the fault back, and it is gone then."""
    server.local("POST", "faults", {"kind": "hold", "operation": "ListModels", "seconds": 0.5})
    start = time.monotonic()
    sagemaker.list_models()
    assert time.monotonic() - start >= 0.5
    assert server.local("GET", "faults") == {"faults": []}


def test_s3_waits_until_the_fault_is_taken_back(server: Server, aws: Aws, s3_prefix: str) -> None:
    """Only for the keys that fit the pattern, in which `*` stands for anything."""
    other = aws.put(f"{s3_prefix}run/1/other/x", b"y")
    pattern = f"{s3_prefix.removeprefix('s3:/')}run/*/features/"
    server.local(
        "POST", "faults",
        {"kind": "s3_hold", "operation": "PutObject", "seconds": 60, "key_contains": pattern, "name": "h"},
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(aws.put, f"{s3_prefix}run/1/features/x", b"x")
        wait_until_held(server, "h")
        assert aws.put(other, b"z") == other
        assert aws.keys(s3_prefix) == ["run/1/other/x"]
        server.local("DELETE", "faults?name=h")
        putting.result(timeout=30)
    assert aws.keys(s3_prefix) == ["run/1/features/x", "run/1/other/x"]


def test_a_server_that_stops_lets_go_what_it_holds(start_server: Any) -> None:
    """A stop need not wait for the fault's seconds."""
    server = start_server({**FAST, "faults": [{"kind": "hold", "name": "h", "seconds": 3600}]})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.client("sagemaker").list_models)
        wait_until_held(server, "h")
        assert server.stop() == 0
        assert answer.result(timeout=30)["Models"] == []


def test_faults_of_containers_and_instances_are_handed_to_the_next_fitting_job(
    server: Server, sagemaker: Any, name: str, tmp_path: Path
) -> None:
    """The runner carries them out; another job's runner hears nothing of them."""
    for kind in (
        {"kind": "kill_container", "after_objects": 1},
        {"kind": "lose_instance", "after_seconds": 2},
    ):
        server.local("POST", "faults", {**kind, "host": "algo-2", "job_name_contains": f"{name}-x"})
    for job in (f"{name}-a", f"{name}-x", f"{name}-x2"):
        path = tmp_path / job
        sagemaker.create_processing_job(**processing_request(job, Environment={"SPEC": str(path)}))
        wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=job)
    faults = {job.name: json.loads(job.read_text())["faults"] for job in tmp_path.iterdir()}
    assert faults == {
        f"{name}-a": [],
        f"{name}-x": [
            {"kind": "kill_container", "host": "algo-2", "after_objects": 1},
            {"kind": "lose_instance", "host": "algo-2", "after_seconds": 2.0},
        ],
        f"{name}-x2": [],
    }


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "meteor"}, "kind: Input should be 'throttle', "),
        ({"kind": "throttle", "count": 0}, "count: Input should be greater than or equal to 1"),
        ({"kind": "throttle", "seconds": 1}, "throttle takes no seconds; its own fields are: "),
        ({"kind": "s3_slow", "seconds": 1e9}, "seconds: Input should be less than or equal to 3600"),
        ({"kind": "error", "status": 403}, "error has no status 403; allowed are 500, 502, 503 and 504"),
        ({"kind": "error", "status": 418}, "status: Input should be 403, 500, 502, 503 or 504"),
        (
            {"kind": "throttle", "operation": "ListModel"},
            "operation is 'ListModel', allowed are e.g. ListModels",
        ),
        ([], "Input should be a valid dictionary"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_name(server: Server, fault: Any, said: str) -> None:
    """And is not armed."""
    answer = server.local("POST", "faults", fault)
    assert answer["status"] == 400
    assert said in answer["error"]
    assert server.local("GET", "faults") == {"faults": []}


def test_one_fault_or_all_are_taken_back(server: Server, sagemaker: Any) -> None:
    """By name, or without one."""
    for name in "abc":
        server.local("POST", "faults", {"kind": "throttle", "name": name})
    assert server.local("DELETE", "faults?name=b") == {"disarmed": 1}
    assert [fault["name"] for fault in server.local("GET", "faults")["faults"]] == ["a", "c"]
    assert server.local("DELETE", "faults") == {"disarmed": 2}
    sagemaker.list_models()


def test_faults_can_be_armed_from_the_settings(start_server: Any) -> None:
    """For a server that is to be bad from its start."""
    server = start_server({**FAST, "faults": [{"kind": "throttle", "operation": "ListModels"}]})
    with expect_client_error("ThrottlingException"):
        server.client("sagemaker").list_models()
    server.client("sagemaker").list_models()


def test_a_page_in_a_browser_cannot_arm_a_fault(server: Server) -> None:
    """Requests with an Origin are refused."""
    request = urllib.request.Request(
        f"{server.url}/_local/faults", data=b'{"kind": "throttle"}', headers={"Origin": "http://evil.example"}
    )
    with pytest.raises(urllib.request.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 403
    assert server.local("GET", "faults") == {"faults": []}


def test_unknown_pages_and_methods_are_named(server: Server) -> None:
    """404 lists what there is; 405 says what does not go."""
    missing = server.local("GET", "coffee")
    assert (missing["status"], missing["error"]) == (
        404,
        "no such page: /_local/coffee; the pages are /_local/faults, /_local/health, /_local/settings, /_local/usage",
    )
    assert server.local("POST", "health", {})["status"] == 405


def test_the_server_listens_on_loopback_only(server: Server) -> None:
    """Whatever other addresses the machine has."""
    address = urlsplit(server.url)
    listening = [
        line.split()[1]
        for line in Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{address.port:04X}")
    ]
    assert listening == [f"0100007F:{address.port:04X}"]
    connection = http.client.HTTPConnection("127.0.0.2", address.port or 0, timeout=2)
    with pytest.raises(OSError, match="refused"):
        connection.request("GET", "/_local/health")


def test_the_requests_of_one_access_key_are_refused_as_expired(
    server: Server, aws: Aws, s3_prefix: str
) -> None:
    """Of SageMaker and of S3, each in its own form; those of another key pass."""
    uri = aws.put(f"{s3_prefix}data", b"x")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    mine = server.client("s3")._request_signer._credentials.access_key
    for kind in ("credentials", "s3_credentials"):
        server.local("POST", "faults", {"kind": kind, "access_key": f"not-{mine}", "count": 9})
    server.client("sagemaker").list_models()
    assert aws.get(uri) == b"x"
    server.local("POST", "faults", {"kind": "credentials", "access_key": mine})
    with expect_client_error("ExpiredTokenException"):
        server.client("sagemaker").list_models()
    server.local("POST", "faults", {"kind": "s3_credentials", "access_key": mine})
    with pytest.raises(ClientError, match="ExpiredToken"):
        server.client("s3").get_object(Bucket=bucket, Key=key)
    assert aws.get(uri) == b"x"


def test_a_job_can_be_invisible_for_a_while(server: Server, sagemaker: Any, name: str) -> None:
    """Describe does not know it, Create says that it exists, and Stop finds it."""
    sagemaker.create_processing_job(**processing_request(name))
    server.local("POST", "faults", {"kind": "invisible", "job_name_contains": name, "count": 2})
    for _ in range(2):
        with expect_client_error("ValidationException") as message:
            sagemaker.describe_processing_job(ProcessingJobName=name)
        assert message == [f"Could not find requested job with name: {name}"]
        with expect_client_error("ResourceInUse"):
            sagemaker.create_processing_job(**processing_request(name))
    assert (
        wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)["ProcessingJobStatus"]
        == "Completed"
    )
    answer = server.local("POST", "faults", {"kind": "invisible", "operation": "ListModels"})
    assert "allowed are e.g. DescribeModel" in answer["error"]
