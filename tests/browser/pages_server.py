"""Our pages alone in a browser: mounted as Airflow mounts them, with its database and rights, without its processes.

A test module imports the fixtures that it uses:

    from tests.browser.pages_server import *  # noqa: F403

`open_page` opens a page as a person with a role, at a width, in light or dark. `teams` fills pipelines and runs in
every state, see `tests.browser.pipelines_of_teams`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser

from batch_inference.aws.s3 import Storage
from tests.browser.conftest import ARTEFACTS
from tests.browser.pipelines_of_teams import Teams, fill_pipelines
from tests.browser.window import Window
from tests.integration.batch_runs.conftest import database, host, login, storage
from tests.integration.batch_runs.database import Database

__all__ = ["database", "host", "login", "open_page", "server_url", "storage", "teams"]

OpenPage = Callable[..., Window]
#: The widths in pixels at which pages are looked at: a desktop, and the frame of a laptop.
DESKTOP, NARROW = 1280, 800


@pytest.fixture(scope="module")
def server_url(host: FastAPI) -> Iterator[str]:
    """The URL of a server on loopback that has our pages below `/batch-inference/`, and nothing else."""
    server = uvicorn.Server(
        uvicorn.Config(host, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server of the pages ended before it had started"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def open_page(server_url: str, chromium: Browser, login: Callable[[str], str]) -> Iterator[OpenPage]:
    """Opens a page: `open_page("runs", dag_id="a", scheme="dark", width=800)` gives its window.

    `role` is that of Airflow's simple auth manager; a viewer may read the DAGs whose id begins with `open`. None is
    nobody. After the test no window has seen an error, or asked anybody but this server.
    """
    windows: list[Window] = []

    def opened(
        page: str = "",
        *,
        role: str | None = "admin",
        scheme: str = "light",
        width: int = DESKTOP,
        **query: str,
    ) -> Window:
        window = Window(chromium, server_url, ARTEFACTS, scheme=scheme, width=width)
        windows.append(window)
        if role is not None:
            window.context.add_cookies([{"name": "_token", "value": login(role), "url": server_url}])
        window.open(page, **query)
        return window

    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    yield opened
    for window in windows:
        window.close()
    assert [each for window in windows for each in window.errors] == []
    assert [each for window in windows for each in window.foreign_requests] == []


@pytest.fixture(scope="module")
def teams(database: Database, storage: Storage) -> Teams:
    """Pipelines of several teams with runs in every state; gives what added them, for more."""
    return fill_pipelines(database, storage)


def text_of(window: Window) -> str:
    """What a person reads on the page, on one line."""
    return re.sub(r"\s+", " ", window.page.locator("body").inner_text())
