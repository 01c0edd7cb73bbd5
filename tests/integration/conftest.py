"""An S3 for the tasks' own access to it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

import batch_inference.cli.laptop.airflow_settings.airflow_local_settings  # noqa: F401 - AWS clients are made quickly
from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection
from tests.moto_server import running_moto

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    """A `Storage` on moto's S3 with a bucket `bucket`; reached through an Airflow connection as on AWS.

    The role and the archives of the tests' pipelines are there, as `plan` wants them.
    """
    with running_moto() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_TEST", build_aws_connection(url))
        made = Storage("aws_test")
        for bucket in ("bucket", "models"):
            made.client.create_bucket(Bucket=bucket)
        for folder in ("s3://bucket/model", "s3://models"):
            for name in ("a", "b"):
                made.write(f"{folder}/{name}.tar.gz", "an archive")
        hook = AwsBaseHook(aws_conn_id="aws_test", client_type="iam")
        hook.conn.create_role(RoleName="scoring", AssumeRolePolicyDocument=json.dumps(TRUST))
        yield made
