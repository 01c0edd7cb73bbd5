"""A run's page and a task's in a browser: the reason comes first, at any width and in either colouring."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import NARROW, OpenPage

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
