"""A window of Chromium at Airflow's UI: it remembers errors of our pages, and requests to anybody but Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, FrameLocator, Request, WebError

from tests.end_to_end.deployment import USERS

PAGES = "/batch-inference/"
#: Playwright's own five and thirty seconds are for a machine that does nothing else.
PATIENCE_MILLISECONDS = 120_000
#: As root, without a screen, and without a browser's own talk to its maker.
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
FRAME = "iframe[src*='batch-inference']"


class Window:
    """One person's window.

    Attributes: `errors`, what our pages wrote to the console as an error or raised; `foreign_requests`, addresses of
    requests that went to anybody but this Airflow.
    """

    def __init__(
        self, browser: Browser, url: str, artefacts: Path, *, scheme: str, width: int = 1400
    ) -> None:
        self.url, self.artefacts, self.scheme = url, artefacts, scheme
        self.context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
        self.context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.foreign_requests: list[str] = []
        self.context.on("console", self._heard)
        self.context.on("weberror", self._raised)
        self.context.on("request", self._asked)
        self.page.on("dialog", self._interrupted)

    def log_in(self, user: str) -> None:
        """Fill the login page that Airflow shows."""
        self.page.goto(f"{self.url}/")
        self.page.get_by_label("Username").fill(user)
        self.page.get_by_label("Password").fill(USERS[user])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda address: "/auth/" not in address)

    def open(self, page: str, **query: str) -> int:
        """Open one of our pages without Airflow around it; its status."""
        answer = self.page.goto(f"{self.url}{PAGES}{page}{'?' + urlencode(query) if query else ''}")
        assert answer is not None
        return answer.status

    def open_tab(self, dag_id: str, run_id: str, task_id: str | None = None) -> FrameLocator:
        """Open the tab of a run, or of a task instance, in Airflow; what is in its frame."""
        run = f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"
        at = run if task_id is None else f"{run}/tasks/{task_id}"
        self.page.goto(at)
        self.page.get_by_role("link", name="Batch inference", exact=True).click()
        return self.page.frame_locator(FRAME)

    def wait_for_plots(self, within: Any = None) -> None:
        """Return when the plots are there."""
        (within or self.page).locator("figure[data-chart] .chart").first.wait_for()

    def save_screenshot(self, name: str, *, whole: bool = False) -> None:
        """Keep a screenshot."""
        self.page.screenshot(path=self.artefacts / f"{name}-{self.scheme}.png", full_page=whole)

    def violations(self) -> list[str]:
        """What axe-core calls serious or critical in the page that is open, and where."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    def close(self) -> None:
        """Close the window and forget the login."""
        self.context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        # That a page answers 403 to who may not see it is what its test looks at.
        expected = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type == "error" and not expected:
            self._keep(str(message.location.get("url") or self.page.url), message.text)

    def _raised(self, error: WebError) -> None:
        self._keep(error.error.stack or self.page.url, str(error.error))

    def _keep(self, source: str, text: str) -> None:
        # Airflow's own scripts report errors as well, such as of a stream that the next page cut off: what counts is
        # which file the error comes from, not which page is open by then.
        if PAGES in source or "file:" in source:
            self.errors.append(f"{source}: {text}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        here = f"{address.scheme}://{address.netloc}" == self.url
        if not here and address.scheme not in ("data", "blob", "file", "about"):
            self.foreign_requests.append(request.url)

    def _interrupted(self, dialog: Dialog) -> None:
        self.errors.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()
