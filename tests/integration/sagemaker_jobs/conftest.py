"""A fake SageMaker, moto for S3 and logs, and one Airflow connection to both."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.integration.sagemaker_jobs.fake_sagemaker import REGION, FakeSageMaker
from tests.moto_server import running_moto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """S3, CloudWatch Logs and IAM by moto, over HTTP."""
    with running_moto() as url:
        yield url


@pytest.fixture(scope="session")
def fake_sagemaker(moto_url: str) -> Iterator[FakeSageMaker]:
    """The fake, and the connection ``aws_default`` to it, whose botocore does not repeat calls by itself."""
    fake = FakeSageMaker()
    connection = {
        "conn_type": "aws",
        "login": "x",
        "password": "x",
        "extra": {
            "region_name": REGION,
            "endpoint_url": moto_url,
            "service_config": {"sagemaker": {"endpoint_url": fake.url}},
            "config_kwargs": {
                "retries": {"total_max_attempts": 1},
                "read_timeout": 60,
                "connect_timeout": 60,
            },
        },
    }
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    yield fake
    del os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
    fake.close()


@pytest.fixture
def aws(fake_sagemaker: FakeSageMaker) -> FakeSageMaker:
    """The fake SageMaker without any job, model or call."""
    fake_sagemaker.reset()
    return fake_sagemaker


@pytest.fixture(scope="session")
def hook(fake_sagemaker: FakeSageMaker) -> SageMakerHook:
    """A hook on the fake; one for all, since boto3 takes a second to build a client."""
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    return SageMakerHook(aws_conn_id="aws_default")


@pytest.fixture
def shared_hook(hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch) -> SageMakerHook:
    """Lets tasks use the one hook instead of building a client each."""
    monkeypatch.setattr("airflow.providers.amazon.aws.utils.mixins.AwsBaseHookMixin.hook", hook)
    return hook


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between repeated calls takes no time."""
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: None))
