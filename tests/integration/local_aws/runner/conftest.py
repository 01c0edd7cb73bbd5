"""A runner as the control plane starts it, against moto's S3 and Logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.local_aws.runner.harness import Aws
from tests.moto_server import running_moto


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def aws(moto_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Buckets of this test's own, and jobs that run against them."""
    made = Aws(moto_url, tmp_path, request.node.name)
    yield made
    made.close()
