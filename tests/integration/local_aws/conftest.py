"""Plain boto3 clients against an endpoint: the embedded AWS, or with --aws a real account."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.integration.local_aws.servers import REGION, Server, run_server

LOCAL_ROLE = "arn:aws:iam::123456789012:role/service-role/batch-inference"


def pytest_addoption(parser: pytest.Parser) -> None:
    """With --aws the same tests run against a real account; those that cannot are marked local_only."""
    group = parser.getgroup("aws", "a real AWS account instead of the embedded AWS")
    group.addoption("--aws", action="store_true", help="use the account of the default credentials")
    group.addoption("--aws-role", help="ARN of an execution role in that account")
    group.addoption("--aws-bucket", help="bucket of that account where tests may write below test prefixes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave local_only tests out of a run against a real account."""
    if not config.getoption("--aws", default=False):
        return
    local = [item for item in items if item.get_closest_marker("local_only")]
    if local:
        config.hook.pytest_deselected(items=local)
        items[:] = [item for item in items if item not in local]


class Aws:
    """Where tests talk to: clients, a role and prefixes of their own."""

    def __init__(self, server: Server | None, role_arn: str, bucket: str | None) -> None:
        self.server = server
        self.role_arn = role_arn
        self.clients: dict[str, Any] = {}
        self._bucket = bucket

    def client(self, service: str) -> Any:
        """The shared client of a service."""
        if service not in self.clients:
            real = boto3.client(service, region_name=REGION) if self.server is None else None
            self.clients[service] = real or self.server.client(service)
        return self.clients[service]

    @property
    def endpoint_url(self) -> str | None:
        """The embedded AWS's URL; None for a real account."""
        return self.server.url if self.server else None

    def prefix(self) -> str:
        """An s3:// prefix that nothing else uses, ending in "/"."""
        if self._bucket is None:
            self._bucket = f"tests-{uuid.uuid4().hex[:12]}"
            self.client("s3").create_bucket(Bucket=self._bucket)
        return f"s3://{self._bucket}/{uuid.uuid4().hex[:12]}/"

    def put(self, uri: str, body: bytes) -> str:
        """Write one object; returns its URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return uri

    def get(self, uri: str) -> bytes:
        """Read one object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        """Keys below an s3:// prefix, relative to it, sorted."""
        bucket, _, start = prefix.removeprefix("s3://").partition("/")
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        return sorted(item["Key"].removeprefix(start) for page in pages for item in page.get("Contents", []))


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The session's AWS, with the real runner: one embedded server without provisioning delay, or the account."""
    config = request.config
    if config.getoption("--aws", default=False):
        role, bucket = config.getoption("--aws-role"), config.getoption("--aws-bucket")
        if not role or not bucket:
            pytest.fail("--aws needs --aws-role and --aws-bucket")
        yield Aws(None, role, bucket)
        return
    settings = {
        "provisioning_seconds": 0,
        "transform_instances_quota": 1000,
        "processing_instances_quota": 1000,
        "default_instance_quota": 1000,
    }
    with run_server(tmp_path_factory.mktemp("aws") / "data", settings) as server:
        yield Aws(server, LOCAL_ROLE, None)


@pytest.fixture(scope="session")
def endpoint_url(aws: Aws) -> str | None:
    """The session server's URL; None for a real account."""
    return aws.endpoint_url


@pytest.fixture(scope="session")
def role_arn(aws: Aws) -> str:
    """An execution role."""
    return aws.role_arn


@pytest.fixture(scope="session")
def sagemaker(aws: Aws) -> Any:
    """A plain boto3 client."""
    return aws.client("sagemaker")


@pytest.fixture(scope="session")
def s3(aws: Aws) -> Any:
    """A plain boto3 client."""
    return aws.client("s3")


@pytest.fixture(scope="session")
def logs(aws: Aws) -> Any:
    """A plain boto3 client."""
    return aws.client("logs")


@pytest.fixture
def s3_prefix(aws: Aws) -> str:
    """An s3:// prefix of this test's own, ending in "/"."""
    return aws.prefix()


@pytest.fixture
def name() -> str:
    """A job or model name that was never used."""
    return f"test-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts further servers, each with its own settings; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(settings: dict[str, Any] | None = None, data_dir: str = "data", **environ: str) -> Server:
            return stack.enter_context(run_server(tmp_path / data_dir, settings, **environ))

        yield start
