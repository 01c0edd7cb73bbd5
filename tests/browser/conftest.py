"""Airflow with a login, started once, and Debian's Chromium in front of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests import preloading
from tests.browser.window import PASSWORDS, SWITCHES, Window
from tests.end_to_end.conftest import endpoint, root, s3, sample, state
from tests.end_to_end.deployment import Deployment
from tests.on_postgres import running_airflow
from tools.airflow_processes import AirflowProcesses, RestApi
from tools.laptop import REPO, build_airflow_environment

__all__ = ["endpoint", "root", "s3", "sample", "state"]

#: Where screenshots are kept; git ignores it.
ARTEFACTS = REPO / "artifacts" / "browser"
DAG = "abalone_seen"
OUTPUT = "s3://batch-inference-sample/seen/"


@dataclasses.dataclass(frozen=True)
class WithLogin(RestApi):
    """Airflow's REST API for a user with a password."""

    def fetch_token(self) -> str:
        body = json.dumps({"username": "admin", "password": PASSWORDS["admin"]}).encode()
        request = urllib.request.Request(
            f"{self.url}/auth/token", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(json.load(answer)["access_token"])


@pytest.fixture(scope="module")
def deployment(state: Path, sample: Path, endpoint: str, s3: Any, root: Path) -> Iterator[Deployment]:
    """All of Airflow's components, with users that have to log in, and a pipeline that only some of them may read."""
    environment = {
        **build_airflow_environment(state / "airflow", endpoint, root=root),
        **preloading.ENVIRONMENT,
    }
    passwords = state / "airflow" / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    shutil.copy(REPO / "tests" / "batch_runs" / "auth.py", root / "auth_by_dag.py")

    def ask_for_passwords(airflow: AirflowProcesses) -> None:
        airflow.environment |= {
            "AIRFLOW__CORE__AUTH_MANAGER": "auth_by_dag.OpenDagsForViewers",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
        airflow.api = WithLogin(airflow.api.url)

    def sex_is_sensitive(document: dict[str, Any]) -> None:
        document["output"]["uri"] = OUTPUT
        document["sensitive"] = [{"column": "sex"}]

    with running_airflow(environment, ask_for_passwords) as airflow:
        deployed = Deployment(airflow=airflow, s3=s3, root=root, endpoint=endpoint, sample=sample)
        deployed.upload_sample()
        deployed.deploy(DAG, sex_is_sensitive)
        yield deployed


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a screen; Playwright's own browsers are not needed.

    Its event loop runs in this thread, where other tests' `asyncio.run` would refuse to start: it ends with the file.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def windows(deployment: Deployment, chromium: Browser) -> Iterator[dict[tuple[str, str | None], Window]]:
    """The windows that are open, by colouring and person; each person logs in once."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    opened: dict[tuple[str, str | None], Window] = {}
    yield opened
    for each in opened.values():
        each.close()


@pytest.fixture(scope="module")
def open_window(
    deployment: Deployment, chromium: Browser, windows: dict[tuple[str, str | None], Window]
) -> Callable[..., Window]:
    """The window of a person, logged in if they have a name."""

    def opened(*, scheme: str = "light", user: str | None = None) -> Window:
        if (scheme, user) not in windows:
            windows[scheme, user] = Window(chromium, deployment.airflow.api.url, ARTEFACTS, scheme=scheme)
            if user is not None:
                windows[scheme, user].log_in(user)
        return windows[scheme, user]

    return opened


@pytest.fixture
def window(
    open_window: Callable[..., Window], windows: dict[tuple[str, str | None], Window]
) -> Iterator[Callable[..., Window]]:
    """The same; after the test none of the windows has seen an error or asked anybody but Airflow."""
    yield open_window
    for each in windows.values():
        assert each.errors == []
        assert each.foreign_requests == []
