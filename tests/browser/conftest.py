"""Debian's Chromium in front of the end-to-end tests' Airflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.window import PATIENCE_MILLISECONDS, SWITCHES, Window
from tests.end_to_end.conftest import deployment
from tests.end_to_end.deployment import Deployment
from tools.checkout import REPO

__all__ = ["deployment"]

# Playwright has one setting for all files of a process.
expect.set_options(timeout=PATIENCE_MILLISECONDS)
#: Where screenshots are kept; git ignores it.
ARTEFACTS = REPO / "artifacts" / "browser"
DAG = "abalone_seen"
OUTPUT = "s3://batch-inference-sample/seen/"


@pytest.fixture(scope="module")
def seen(deployment: Deployment) -> Deployment:
    """With a pipeline that only some of the users may read."""

    def sex_is_sensitive(document: dict[str, Any]) -> None:
        document["output"]["uri"] = OUTPUT
        document["sensitive"] = [{"column": "sex"}]

    deployment.deploy(DAG, sex_is_sensitive)
    return deployment


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
def windows(seen: Deployment, chromium: Browser) -> Iterator[dict[tuple[str, str | None], Window]]:
    """The windows that are open, by colouring and person; each person logs in once."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    opened: dict[tuple[str, str | None], Window] = {}
    yield opened
    for each in opened.values():
        each.close()


@pytest.fixture(scope="module")
def open_window(
    seen: Deployment, chromium: Browser, windows: dict[tuple[str, str | None], Window]
) -> Callable[..., Window]:
    """The window of a person, logged in if they have a name."""

    def opened(*, scheme: str = "light", user: str | None = None) -> Window:
        if (scheme, user) not in windows:
            windows[scheme, user] = Window(chromium, seen.airflow.api.url, ARTEFACTS, scheme=scheme)
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
