"""The documentation in a browser: nothing from another host, no page wider than a phone, a search that finds keys."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tools.documentation.site import build_site

PHONE, DESKTOP = (390, 844), (1280, 900)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documentation") / "site"
    assert build_site(folder) == []
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def open_page(chromium: Browser, size: tuple[int, int]) -> tuple[Page, list[str]]:
    """A page, and what it asks for or complains about."""
    page = chromium.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    heard: list[str] = []
    page.on("request", lambda request: heard.append(request.url))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    return page, heard


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_each_page_fits_and_loads_nothing_from_another_host(
    chromium: Browser, site: Path, url: str, size: tuple[int, int]
) -> None:
    page, heard = open_page(chromium, size)
    too_wide = []
    for path in sorted(each.parent.relative_to(site).as_posix() for each in site.rglob("index.html")):
        page.goto(f"{url}{path}/")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            too_wide.append(path)
    assert too_wide == []
    assert [each for each in heard if not each.startswith((url, "data:", "blob:"))] == []


def test_the_search_finds_a_key_by_its_name_alone(chromium: Browser, url: str) -> None:
    page, _ = open_page(chromium, DESKTOP)
    page.goto(url)
    page.get_by_role("textbox", name="Search").click()
    page.keyboard.type("grace_minutes")
    expect(page.locator(".md-search-result__item", has_text="Every key of a pipeline file")).to_be_visible()


@pytest.mark.parametrize(("preferred", "other"), [("light", "slate"), ("dark", "default")])
def test_the_colours_follow_the_system_and_can_be_changed(
    chromium: Browser, url: str, preferred: str, other: str
) -> None:
    page = chromium.new_context(color_scheme=preferred).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.locator("[data-md-component=palette] label:visible").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", other)
