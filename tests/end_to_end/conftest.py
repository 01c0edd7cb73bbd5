"""Airflow's real processes and the embedded AWS on a deployed copy of this repository, once for all workers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.end_to_end.airflow_server import shared_deployment
from tests.end_to_end.deployment import Deployment


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All of Airflow's components, healthy, with the sample in place. Other workers' runs go on in it meanwhile."""
    folder = tmp_path_factory.getbasetemp()
    with shared_deployment(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as found:
        yield found
