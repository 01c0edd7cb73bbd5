"""An S3 for the tasks' own access to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from include.orchestration.storage import Storage
from tools.laptop import aws_connection


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    """A `Storage` on moto's S3, with an empty bucket `bucket`; reached through an Airflow connection as on AWS."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_TEST", aws_connection(f"http://{host}:{port}"))
        made = Storage("aws_test")
        made.client.create_bucket(Bucket="bucket")
        yield made
    server.stop()
