"""`report.html` in a browser, opened from disk as from a mail: charts that can be read at any width, and no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from batch_inference.reporting.report import render_html
from tests.browser.conftest import ARTEFACTS
from tests.browser.window import Window
from tests.unit.reporting.test_charts import everything
from tests.unit.reporting.test_report import job, report, trial

#: The widths of a phone, of the frame of a laptop, and of a desktop, in pixels.
WIDTHS = (390, 800, 1280)
#: Gives the texts of each chart that are wider than their chart, and that another one covers.
OVERLAPS = """() => [...document.querySelectorAll("svg.chart")].flatMap((chart) => {
  const frame = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  return texts.flatMap(([content, box], at) => [
    ...(box.left < frame.left - 1 || box.right > frame.right + 1 ? [`${content} is cut off`] : []),
    ...texts.slice(at + 1)
      .filter(([, other]) => box.left < other.right && other.left < box.right
                             && box.top + 4 < other.bottom && other.top + 4 < box.bottom)
      .map(([other]) => `${content} covers ${other}`),
  ]);
})"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run with a trial, a failed attempt, long reasons and several instances."""
    worked = [
        {"instance": f"algo-{number}", "from": 1400.0 + 12 * number, "to": 1900.0 - 40 * number}
        for number in range(6)
    ]
    transform = job(
        "transform", created_at=1310.0, started_at=1400.0, ended_at=1950.0, busy_seconds=2400.0, instance_count=6,
        instances=worked, earlier_attempts=[{"billed_seconds": 130.0}],
    )  # fmt: skip
    figures: dict[str, Any] = report(
        jobs={"preprocess": job("preprocess"), "transform": transform}, trials=[trial()]
    )
    figures = {**figures, "quality": everything()["quality"]}
    reasons = {
        "rings: found text, allowed is an integer": 15_000,
        "length: above 1.0 millimetres, as the form says": 4_000,
    }
    figures["records"] = {"in": 20_000, "rejected": 19_000, "scored": 1_000, "rejected_by_reason": reasons}
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_html(figures), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_can_be_read_at_any_width(chromium: Browser, address: str, scheme: str, width: int) -> None:
    Path(ARTEFACTS).mkdir(parents=True, exist_ok=True)
    window = Window(chromium, "", ARTEFACTS, scheme=scheme, width=width)
    try:
        window.page.goto(address)
        window.save_screenshot(f"report-file-{width}", whole=True)
        assert window.page.locator("svg.chart").count() == 7
        assert window.page.evaluate(OVERLAPS) == []
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width
        assert window.violations() == []
        assert (window.errors, window.foreign_requests) == ([], [])
    finally:
        window.close()


def test_on_paper_it_is_dark_on_white_and_nothing_is_cut_off(chromium: Browser, address: str) -> None:
    window = Window(chromium, "", ARTEFACTS, scheme="dark", width=720)  # A4 at 96 dpi, less the margins
    try:
        window.page.emulate_media(media="print", color_scheme="dark")
        window.page.goto(address)
        window.save_screenshot("report-file-print", whole=True)
        assert window.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert window.page.evaluate("document.documentElement.scrollWidth") <= 720
    finally:
        window.close()
