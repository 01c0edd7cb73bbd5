"""A server whose jobs are run by fake_runner.py: what is tested here is the control plane."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.api.requests import model_request, transform_request
from tests.integration.local_aws.conftest import LOCAL_ROLE, Aws
from tests.integration.local_aws.servers import run_server

FAKE_RUNNER = [sys.executable, "-S", str(Path(__file__).with_name("fake_runner.py"))]
FAST = {
    "runner_command": FAKE_RUNNER,
    "provisioning_seconds": 0,
    "transform_instances_quota": 10_000,
    "processing_instances_quota": 10_000,
    "default_instance_quota": 10_000,
}


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The session's AWS for these tests: its jobs end as their environment variables say."""
    config = request.config
    if config.getoption("--aws", default=False):
        yield Aws(None, config.getoption("--aws-role"), config.getoption("--aws-bucket"))
        return
    with run_server(tmp_path_factory.mktemp("control") / "data", FAST) as server:
        yield Aws(server, LOCAL_ROLE, None)


@pytest.fixture
def model(sagemaker: Any, role_arn: str) -> Iterator[str]:
    """A model of one container."""
    name = f"model-{uuid.uuid4().hex[:12]}"
    sagemaker.create_model(**model_request(name, ExecutionRoleArn=role_arn))
    yield name
    sagemaker.delete_model(ModelName=name)


@pytest.fixture
def transform(aws: Aws, name: str, model: str, s3_prefix: str) -> dict[str, Any]:
    """A CreateTransformJob request that is accepted: its model exists, and so does one input object."""
    aws.put(f"{s3_prefix}in/data.csv", b"1,2\n")
    return transform_request(name, model, f"{s3_prefix}in")
