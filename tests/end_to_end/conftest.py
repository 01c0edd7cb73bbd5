"""Airflow's real processes and the embedded AWS, started once, on a deployed copy of this repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import preloading
from tests.end_to_end.deployment import Deployment
from tests.on_postgres import running_airflow
from tools.laptop import REPO, build_airflow_environment, create_s3_client, run_embedded_aws
from tools.sample import make_sample

ROWS = 6_000

#: A key is whatever uploads it: templates, HTML and quotes in it are text, and stay text on all its way.
ODD_NAME = "{{ 7 * 7 }} <img src=x onerror=alert(1)> ' & ü.csv"


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for everything that one session of end-to-end tests leaves."""
    return tmp_path_factory.mktemp("end-to-end")


@pytest.fixture(scope="session")
def sample(state: Path) -> Path:
    """Generated input objects in `data/` and the fitted model's artefacts in `model/`."""
    make_sample(state, rows=ROWS, seed=7)
    last = max((state / "data").iterdir())
    last.rename(last.with_name(ODD_NAME))
    return state


@pytest.fixture(scope="session")
def endpoint(state: Path) -> Iterator[str]:
    """The embedded AWS."""
    images = {"images_file": str(Path(__file__).with_name("images.yaml"))}
    with run_embedded_aws(state / "aws", settings=images) as url:
        yield url


@pytest.fixture(scope="session")
def s3(endpoint: str) -> Any:
    """An S3 client for the embedded AWS."""
    return create_s3_client(endpoint)


@pytest.fixture(scope="session")
def root(state: Path) -> Path:
    """dags/, plugins/ and include/ copied to a folder of their own, where tests may add pipelines."""
    root = state / "deployed"
    for folder in ("dags", "plugins", "include"):
        shutil.copytree(REPO / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    preloading.preload(root)
    return root


@pytest.fixture(scope="package")
def deployment(state: Path, sample: Path, endpoint: str, s3: Any, root: Path) -> Iterator[Deployment]:
    """All of Airflow's components, healthy, with the sample in place."""
    environment = {
        **build_airflow_environment(state / "airflow", endpoint, root=root),
        **preloading.ENVIRONMENT,
    }
    with running_airflow(environment) as airflow:
        deployed = Deployment(airflow=airflow, s3=s3, root=root, endpoint=endpoint, sample=sample)
        deployed.upload_sample()
        yield deployed
