"""The pages mounted as Airflow mounts them, with Airflow's own login and database, but without the rest of it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_runs import pipeline_storage
from tests.integration.batch_runs.database import Database
from tests.moto_server import running_moto

PREFIX = "/batch-inference"


@pytest.fixture(scope="module")
def login(airflow_db: Path) -> Iterator[Callable[[str], str]]:
    """Gives a token for a role; Airflow's auth manager is one that lets a viewer read what begins with `open`."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.integration.batch_runs.auth.OpenDagsForViewers")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of these tests " * 4)
        manager = airflow_app.create_auth_manager()
        manager.init()

        def token(role: str) -> str:
            user = SimpleAuthManagerUser(username="somebody", role=role or None)
            return str(manager.generate_jwt(user))

        yield token
        airflow_app.purge_cached_app()


@pytest.fixture(scope="module")
def host(login: Any) -> Iterator[FastAPI]:
    """What Airflow's own application is to the pages, which wait for S3 and SageMaker however slow this machine is."""
    from batch_runs import app as pages
    from batch_runs.mount import serve_pages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "FIRST_PATIENCE_SECONDS", 60.0)
        patch.setattr(pages, "TASK_PATIENCE_SECONDS", 60.0)
        host = FastAPI()
        host.mount(PREFIX, serve_pages)
        yield host


@pytest.fixture
def browser(host: FastAPI, login: Callable[[str], str]) -> Callable[[str | None], TestClient]:
    """A browser at the pages, logged in with a role by Airflow's cookie, or not at all."""

    def opened(role: str | None) -> TestClient:
        cookies = {} if role is None else {"_token": login(role)}
        return TestClient(
            host, base_url=f"http://testserver{PREFIX}/", cookies=cookies, raise_server_exceptions=False
        )

    return opened


@pytest.fixture
def read(browser: Callable[[str | None], TestClient]) -> Callable[[str], str]:
    """What a person reads on a page, on one line and without the plots."""

    def shown(address: str) -> str:
        answer = browser("viewer").get(address)
        assert answer.status_code == 200, answer.text
        without_plots = re.sub(r"<script.*?</script>", "", answer.text, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without_plots)).split())

    return shown


@pytest.fixture(scope="module")
def database(airflow_db: Path) -> Iterator[Database]:
    """Airflow's database, emptied afterwards."""
    database = Database()
    yield database
    database.clear()


@pytest.fixture(scope="module")
def storage(airflow_db: Path) -> Iterator[Storage]:
    """An S3 with the bucket `bucket`, to which the connection of the pipelines leads."""
    with running_moto() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_TEST", build_aws_connection(url))
        # The pages keep a client for a while, which leads to another module's server.
        pipeline_storage.close_clients()
        made = Storage("aws_test")
        made.client.create_bucket(Bucket="bucket")
        yield made
