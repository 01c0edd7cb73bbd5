"""A run's page and a task's in a browser: the reason comes first, at any width and in either colouring."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import FrameLocator, expect

from batch_runs import figures
from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import NARROW, OpenPage, text_of
from tests.browser.window import Window

pytestmark = pytest.mark.usefixtures("teams")

RUNS = {
    "model": ("risk.churn", "scheduled__failed_at_await_transform"),
    "plan": ("risk.fraud", "scheduled__failed_at_plan"),
    "rejects": ("risk.limits", "scheduled__failed_at_await_preprocess"),
    "held": ("ops.sensors", "scheduled__failed_at_checks"),
    "killed": ("ops.killed", "scheduled__killed"),
    "running": ("marketing.segments", "scheduled__running"),
    "late": ("marketing.uplift", "scheduled__late"),
    "queued": ("marketing.newsletter", "scheduled__queued"),
    "plan-only": ("pricing.rates", "scheduled__plan_only"),
    "empty": ("pricing.basket", "scheduled__empty"),
    "unchanged": ("pricing.shelf", "scheduled__unchanged"),
    "rejecting": ("open_abalone", "backfill__rejecting"),
    "published": ("open_abalone", "manual__published"),
}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", NARROW)])
@pytest.mark.parametrize("name", RUNS)
def test_every_run_can_be_read_by_everybody(open_page: OpenPage, name: str, scheme: str, width: int) -> None:
    """axe finds nothing serious, and nothing is wider than the page."""
    dag_id, run_id = RUNS[name]
    window = open_page("run", dag_id=dag_id, run_id=run_id, scheme=scheme, width=width)
    expect(window.page.locator("[data-loading]")).to_have_count(0)
    window.save_screenshot(f"run-{name}-{width}", whole=True)
    assert window.violations() == []
    assert window.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def test_a_plan_without_a_run_compares_the_instance_types(open_page: OpenPage) -> None:
    """What each takes and costs, and whether that is in time; the chosen one is marked."""
    dag_id, run_id = RUNS["plan-only"]
    window = open_page("run", dag_id=dag_id, run_id=run_id, width=NARROW)
    table = window.page.get_by_role("region", name="Instance types to choose from")
    lines = [" ".join(row.split()) for row in table.locator("tbody tr").all_inner_texts()]
    assert len(lines) == 6
    assert sum("chosen" in line for line in lines) == 2
    assert any("unknown" in line and "ml.c4.xlarge" in line for line in lines)


def open_in_airflow(
    open_page: OpenPage, name: str, *, at: str | None = None, **options: Any
) -> tuple[Window, FrameLocator]:
    """A run's page in a frame of a page at Airflow's address of the run, or `at`; as Airflow shows its tab."""
    dag_id, run_id = RUNS[name]
    window = open_page("static/page.css", **options)
    window.page.route(
        "**/airflow/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"""<html lang="en" class="light"><title>Airflow</title><style>
            html {{ --chakra-colors-bg: rgb(250, 251, 252); --chakra-colors-fg: rgb(1, 2, 3); }}
            html.dark {{ --chakra-colors-bg: rgb(10, 11, 12); --chakra-colors-fg: rgb(240, 241, 242); }}
            body {{ margin: 0 }} iframe {{ border: 0; width: 100%; height: 100vh }}</style>
            <iframe title="tab" src="/batch-inference/run?{urlencode({"dag_id": dag_id, "run_id": run_id})}"
            sandbox="allow-scripts allow-same-origin allow-forms allow-downloads"></iframe>""",
        ),
    )
    address = at or f"/airflow/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    window.page.goto(f"{window.url}{address}")
    return window, window.page.frame_locator("iframe")


@pytest.mark.parametrize("name", ["model", "rejects", "held", "plan", "published", "running"])
def test_in_the_tab_of_the_run_what_counts_is_on_the_first_screen(open_page: OpenPage, name: str) -> None:
    """Airflow's header has the name, its grid has the tasks; beside them the tab is some 800 pixels wide."""
    window, frame = open_in_airflow(open_page, name, width=NARROW)
    first = frame.locator({"published": ".figures", "running": ".facts"}.get(name, ".notice .headline")).first
    expect(first).to_be_visible()
    expect(frame.get_by_role("heading", level=1)).to_be_hidden()
    expect(frame.locator(".tasks")).to_be_hidden()
    expect(frame.locator("header")).to_be_hidden()
    window.save_screenshot(f"tab-{name}")
    box = first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 400


def test_in_another_frame_the_page_says_what_it_is_of(open_page: OpenPage) -> None:
    _, frame = open_in_airflow(open_page, "published", at="/airflow/plugin/batch-inference")
    expect(frame.get_by_role("heading", level=1, name="open_abalone")).to_be_visible()
    expect(frame.locator(".tasks")).to_be_visible()


def test_the_tab_takes_airflows_colours_and_changes_with_them(open_page: OpenPage) -> None:
    """Those of its UI as it is, which an administrator may have changed."""
    window, frame = open_in_airflow(open_page, "published")
    body = frame.locator("body")
    expect(body).to_have_css("background-color", "rgb(250, 251, 252)")
    expect(body).to_have_css("color", "rgb(1, 2, 3)")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")
    window.page.evaluate("document.documentElement.className = 'dark'")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    expect(body).to_have_css("background-color", "rgb(10, 11, 12)")
    expect(body).to_have_css("color", "rgb(240, 241, 242)")


def test_times_are_shown_as_airflow_shows_them_in_the_zone_that_the_person_chose(open_page: OpenPage) -> None:
    window, frame = open_in_airflow(open_page, "model")
    time = frame.locator("time").last
    expect(time).to_have_attribute("datetime", "2026-01-31T07:30:00+00:00")
    for chosen, shown, title in (
        ('"UTC"', "2026-01-31 07:30:00", "UTC"),
        ('"Asia/Tokyo"', "2026-01-31 16:30:00", "Asia/Tokyo; 2026-01-31 07:30:00 UTC"),
        ('"America/New_York"', "2026-01-31 02:30:00", "America/New_York; 2026-01-31 07:30:00 UTC"),
        ("not a zone", "2026-01-31 07:30:00", "UTC"),
    ):
        window.page.evaluate("chosen => localStorage.setItem('timezone', chosen)", chosen)
        expect(time).to_have_text(shown)
        expect(time).to_have_attribute("title", title)


def test_while_s3_does_not_answer_the_page_says_that_it_loads_and_then_shows_the_figures(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, load_report = threading.Event(), figures._load_report

    def load(*arguments: Any) -> Any:
        answered.wait(60)
        return load_report(*arguments)

    monkeypatch.setattr(figures, "_load_report", load)
    monkeypatch.setattr("batch_runs.app.FIRST_PATIENCE_SECONDS", 0.05)
    dag_id, run_id = RUNS["published"]
    window = open_page("run", dag_id=dag_id, run_id=run_id, width=NARROW)
    expect(window.page.get_by_text("Reading the figures from S3 and SageMaker")).to_be_visible()
    expect(window.page.locator(".figures")).to_contain_text("60 scored")
    window.save_screenshot("run-loading")
    answered.set()
    expect(window.page.locator("figure[data-chart=funnel]")).to_be_visible()
    expect(window.page.get_by_text("Reading the figures")).to_have_count(0)


def test_what_a_person_opened_stays_open_while_the_page_refreshes(open_page: OpenPage) -> None:
    dag_id, run_id = RUNS["running"]
    window = open_page("run", dag_id=dag_id, run_id=run_id)
    window.page.get_by_text("The whole message").click()
    elapsed = window.page.locator("dd").nth(1)
    before = elapsed.inner_text()
    expect(elapsed).not_to_have_text(before, timeout=90_000)
    expect(window.page.locator("details[open] > summary", has_text="The whole message")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", NARROW)])
@pytest.mark.parametrize("task_id", ["await_transform", "join", "clean_up", "plan"])
def test_the_page_of_a_task_can_be_read_by_everybody(
    open_page: OpenPage, task_id: str, scheme: str, width: int
) -> None:
    """The task that failed, one that did not start for it, and one that succeeded."""
    dag_id, run_id = RUNS["model"]
    window = open_page("task", dag_id=dag_id, run_id=run_id, task_id=task_id, scheme=scheme, width=width)
    window.save_screenshot(f"task-{task_id}-{width}", whole=True)
    assert window.violations() == []
    assert ("The model raised KeyError" in text_of(window)) is (task_id != "plan")
