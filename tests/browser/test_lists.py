"""The lists in a browser: what needs a look comes first, one click leads to the reason, and all works by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import DESKTOP, NARROW, OpenPage, text_of
from tests.browser.window import Window

pytestmark = pytest.mark.usefixtures("teams")
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", NARROW), ("dark", NARROW)]


def list_shown(window: Window) -> list[str]:
    """The pipelines that are shown, in their order."""
    return window.page.locator("#pipelines tbody:visible th[scope=row] a").all_inner_texts()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_lists_can_be_read_by_everybody(open_page: OpenPage, scheme: str, width: int) -> None:
    """axe finds nothing serious, in either colouring, and no page is wider than its window."""
    for name, page, query in (
        ("list", "", {}),
        ("list-failed", "runs", {"dag_id": "risk.churn"}),
        ("list-warning", "runs", {"dag_id": "open_abalone"}),
        ("list-wrong", "runs", {"dag_id": "ops.meter"}),
    ):
        window = open_page(page, scheme=scheme, width=width, **query)
        window.save_screenshot(f"{name}-{width}", whole=True)
        assert window.violations() == [], name
        root = "document.documentElement"
        assert not window.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"), name


def test_the_first_screen_says_how_many_pipelines_need_a_look_and_why(open_page: OpenPage) -> None:
    window = open_page(width=NARROW)
    text = text_of(window)
    assert "1 file wrong 4 failed 1 held 1 late 1 warning 1 empty input 2 running 1 queued" in text
    assert list_shown(window)[:6] == [
        "ops.meter", "ops.killed", "risk.churn", "risk.fraud", "risk.limits", "ops.sensors",
    ]  # fmt: skip
    reason = window.page.get_by_role("link", name="The model raised KeyError")
    expect(reason.first).to_be_in_viewport()
    # One click from the list to the reason.
    reason.first.click()
    expect(window.page.get_by_text("The model raised KeyError").first).to_be_in_viewport()
    assert "run?dag_id=risk.churn" in window.page.url


def test_a_word_at_the_top_filters_and_the_filter_is_kept_in_the_address(open_page: OpenPage) -> None:
    window = open_page()
    window.page.get_by_role("link", name="4 failed").click()
    failed = ["ops.killed", "risk.churn", "risk.fraud", "risk.limits"]
    assert list_shown(window) == failed
    expect(window.page.get_by_text("4 of 15 shown")).to_be_visible()
    window.page.get_by_label("Team").select_option("risk")
    assert list_shown(window) == failed[1:]
    assert window.page.url.endswith("?state=failed&team=risk")
    window.page.get_by_role("link", name="risk.fraud").click()
    window.page.go_back()
    assert list_shown(window) == failed[1:]
    window.page.get_by_role("button", name="Show all").click()
    expect(window.page.locator("#pipelines tbody:visible")).to_have_count(15)
    assert "?" not in window.page.url


def test_the_list_is_filtered_and_sorted_by_the_keyboard(open_page: OpenPage) -> None:
    window = open_page()
    window.page.get_by_label("Name").press_sequentially("PRIC")
    assert list_shown(window) == ["pricing.basket", "pricing.rates", "pricing.shelf"]
    window.page.get_by_label("Name").fill("")
    records = window.page.get_by_role("button", name="Records")
    records.focus()
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_role("columnheader", name="Records")).to_have_attribute(
        "aria-sort", "descending"
    )
    assert list_shown(window)[0] == "marketing.uplift"
    window.page.keyboard.press("Enter")
    assert list_shown(window)[0] == "open_abalone"
    # Without records, so last in both directions.
    assert list_shown(window)[-1] == "ops.forecast"
    assert window.page.url.endswith("?sort=records&order=ascending")
    window.page.reload()
    assert list_shown(window)[0] == "open_abalone"


def test_each_bar_leads_to_its_run_with_one_click_and_is_reached_by_arrows(open_page: OpenPage) -> None:
    window = open_page()
    bars = window.page.get_by_role("group", name="Last runs of risk.churn").locator("a")
    expect(bars).to_have_count(30)
    assert bars.locator("rect.bar-failed").count() == 4
    assert "failed after 6 min 00 s" in (bars.last.locator("title").text_content() or "")
    bars.last.focus()
    window.page.keyboard.press("ArrowLeft")
    expect(bars.nth(28)).to_be_focused()
    bars.last.click()
    assert "run_id=scheduled__failed_at_await_transform" in window.page.url


def test_a_pipelines_page_filters_failed_runs_and_jumps_to_a_day(open_page: OpenPage) -> None:
    window = open_page("runs", dag_id="risk.churn")
    assert "failed the run of" in text_of(window)
    window.page.locator("main").get_by_label("State").select_option("failed")
    window.page.get_by_role("button", name="Show").click()
    expect(window.page.locator("tbody .badge-failed")).to_have_count(4)
    assert "4 runs of this choice" in text_of(window)
    window.page.get_by_label("Until").fill("2020-01-01")
    window.page.get_by_role("button", name="Show").click()
    expect(window.page.get_by_text("There are no runs of this choice")).to_be_visible()
    window.page.get_by_role("link", name="show all").click()
    expect(window.page.get_by_text("44 runs ·")).to_be_visible()


def test_who_may_read_one_pipeline_sees_no_other(open_page: OpenPage) -> None:
    window = open_page(role="viewer")
    assert list_shown(window) == ["open_abalone"]
    assert "risk" not in text_of(window)
