"""Credentials that end in the middle of a task cost one call, whatever the call is."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import get_client, list_entries
from sagemaker_jobs.errors import SubmitFailed
from sagemaker_jobs.job.describe import describe_job, stop_job
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from sagemaker_jobs.tags import read_tags, try_to_tag
from sagemaker_jobs.waiting.polling import open_shared_poller
from tests.integration.sagemaker_jobs.builders import clean_up
from tests.integration.sagemaker_jobs.fake_sagemaker import REGION
from tests.integration.sagemaker_jobs.specs import transform_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

CODES = [
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
]


def connection(key: str, sagemaker: str, other: str = "http://127.0.0.1:1") -> str:
    """An Airflow connection with this access key, whose clients do not repeat calls by themselves."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": key,
            "password": "x",
            "extra": {
                "region_name": REGION,
                "endpoint_url": other,
                "service_config": {"sagemaker": {"endpoint_url": sagemaker}},
                "config_kwargs": {
                    "retries": {"total_max_attempts": 1},
                    # No bodies in chunks, which the server of this test does not read.
                    "request_checksum_calculation": "when_required",
                },
            },
        }
    )


@pytest.fixture
def rotating(aws: FakeSageMaker, monkeypatch: pytest.MonkeyPatch) -> SageMakerHook:
    """A hook that has built its client with the key AKIAOLD, which the connection no longer has."""
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", connection("AKIAOLD", aws.url))
    hook = SageMakerHook(aws_conn_id="rotating")
    get_client(hook).list_models()
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", connection("AKIANEW", aws.url))
    return hook


@pytest.mark.parametrize("code", CODES)
def test_a_job_is_created_with_the_credentials_that_the_connection_has_now(
    aws: FakeSageMaker, rotating: SageMakerHook, code: str
):
    """The model's and the job's Create meet the end of the old key, and the client goes on with the new one."""
    aws.expire_access_key("AKIAOLD", code, status=403 if code == "InvalidClientTokenId" else 400)
    assert ensure_job(rotating, transform_spec()).name == "score-0123-1"
    assert list(aws.jobs) == ["score-0123-1"]
    # The first call alone met the old key.
    assert aws.count("DescribeTransformJob") == 3


def test_every_other_call_outlives_it_too(aws: FakeSageMaker, rotating: SageMakerHook):
    """Describe, List, tags, Stop, DeleteModel, and those that the provider's own methods make."""
    job = ensure_job(rotating, transform_spec())
    keys = iter(f"AKIA{number}" for number in range(9))

    def rotated() -> SageMakerHook:
        """The key in use is refused from now on, and the connection has the next."""
        current, following = rotated.key, next(keys)  # type: ignore[attr-defined]
        aws.expire_access_key(current)
        patch.setenv("AIRFLOW_CONN_ROTATING", connection(following, aws.url))
        rotated.key = following  # type: ignore[attr-defined]
        return rotating

    rotated.key = "AKIAOLD"  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        assert describe_job(rotated(), TRANSFORM, job.name) is not None
        assert [
            each["TransformJobName"]
            for each in list_entries(rotated(), "list_transform_jobs", "TransformJobSummaries")
        ]
        try_to_tag(rotated(), job.arn, {"a": "b"})
        assert read_tags(rotated(), job.arn) == {"a": "b"}
        assert rotated().describe_transform_job(job.name)["TransformJobName"] == job.name
        assert stop_job(rotated(), TRANSFORM, job.name, because="of the test")
        assert clean_up(rotated(), "abalone-transform") == ["abalone-transform-0123456789"]


def test_the_triggerers_calls_outlive_it(aws: FakeSageMaker, rotating: SageMakerHook):
    """Looking and stopping go through one shared client of another kind."""
    ensure_job(rotating, transform_spec())
    polled = SageMakerHook(aws_conn_id="rotating")

    async def look_and_stop() -> None:
        async with open_shared_poller(polled, aws_conn_id="rotating") as poller:
            assert await poller.describe(TRANSFORM, "score-0123-1")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AIRFLOW_CONN_ROTATING", connection("AKIANEXT", aws.url))
                aws.expire_access_key("AKIANEW")
                await poller.call("stop_transform_job", TransformJobName="score-0123-1")
                assert await poller.is_listed(TRANSFORM, "score-0123-1") is False

    asyncio.run(look_and_stop())
    assert aws.status("score-0123-1") == "Stopping"


def test_credentials_that_stay_refused_are_an_error_that_may_be_retried(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """The next token may be on its way; the message has AWS's words."""
    monkeypatch.setattr(
        "sagemaker_jobs.aws.stop_after_delay", lambda _: lambda state: state.attempt_number >= 3
    )
    aws.refuse("CreateTransformJob", "ExpiredTokenException", "The security token is expired", times=99)
    with pytest.raises(SubmitFailed, match="The security token is expired") as raised:
        ensure_job(hook, transform_spec())
    assert type(raised.value) is SubmitFailed
    assert aws.count("CreateTransformJob") == 6  # each of three calls is sent again once


def test_a_refusal_for_another_reason_is_not_sent_again(aws: FakeSageMaker, hook: SageMakerHook):
    """Fresh credentials would be no other ones."""
    aws.refuse("DescribeProcessingJob", "AccessDeniedException", "not authorized", times=1)
    with pytest.raises(ClientError, match="not authorized"):
        describe_job(hook, PROCESSING, "work-0123-1")
    assert aws.count("DescribeProcessingJob") == 1


@pytest.fixture
def old_key_refused() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """S3 and CloudWatch Logs that refuse AKIAOLD as each of them does; their URL, and (key, method) of the calls."""
    calls: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Keep the tests' output quiet."""

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            calls.append((key, self.command))
            is_logs = "X-Amz-Target" in self.headers
            status, body = 200, b'{"logStreams": []}' if is_logs else b""
            if key == "AKIAOLD":
                status = 400
                body = (
                    b'{"__type": "ExpiredTokenException", "message": "expired"}'
                    if is_logs
                    else b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"
                )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", calls
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("hook_class", "operation", "arguments"),
    [
        (S3Hook, "get_object", {"Bucket": "b", "Key": "k"}),
        # Its answer has no body, and so no code: it is a bare 400.
        (S3Hook, "head_object", {"Bucket": "b", "Key": "k"}),
        (S3Hook, "put_object", {"Bucket": "b", "Key": "k", "Body": b"body"}),
        (AwsLogsHook, "describe_log_streams", {"logGroupName": "g"}),
    ],
)
def test_s3_and_logs_outlive_it(
    old_key_refused: tuple[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    hook_class: Any,
    operation: str,
    arguments: dict[str, Any],
):
    """With the body of a put sent again from its start."""
    url, calls = old_key_refused
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", connection("AKIAOLD", url, url))
    client = get_client(hook_class(aws_conn_id="rotating"))
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", connection("AKIANEW", url, url))
    getattr(client, operation)(**arguments)
    # After a HEAD botocore asks for the bucket's region in between, with either key.
    assert (calls[0][0], calls[-1][0]) == ("AKIAOLD", "AKIANEW")
    assert calls[0][1] == calls[-1][1]
    assert len(calls) == 2 or operation == "head_object"
