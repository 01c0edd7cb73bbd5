"""An S3 for the tasks' own access to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import batch_inference.cli.laptop.airflow_settings.airflow_local_settings  # noqa: F401 - AWS clients are made quickly
from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection
from tests.moto_server import running_moto


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    """A `Storage` on moto's S3, with an empty bucket `bucket`; reached through an Airflow connection as on AWS."""
    with running_moto() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_TEST", build_aws_connection(url))
        made = Storage("aws_test")
        made.client.create_bucket(Bucket="bucket")
        yield made
