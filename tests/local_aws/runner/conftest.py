"""A runner as the control plane starts it, against moto's S3 and Logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.local_aws.runner.harness import Aws


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Buckets of this test's own, and jobs that run against them."""
    made = Aws(moto_url, tmp_path, request.node.name)
    yield made
    made.close()
