"""The page of costs in a browser: what the month costs comes first, then what was lost and where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batch_inference.aws.s3 import Storage
from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import NARROW, OpenPage, text_of
from tests.integration.batch_runs.cost_months import add_costs, build_run, write_months
from tests.integration.batch_runs.database import Database

#: Team, pipelines, runs a day.
PIPELINES = (("risk", 3, 1), ("marketing", 3, 24), ("pricing", 2, 4), ("ops", 2, 1), ("growth", 1, 1))


@pytest.fixture(scope="module")
def filled(database: Database, storage: Storage) -> None:
    """Eleven pipelines of five teams, and one on a type without a known price."""
    now = datetime.now(UTC)
    for team, count, per_day in PIPELINES:
        for number in range(count):
            dag_id = f"{team}.pipeline_{number}"
            database.add_dag(dag_id, next_dagrun_create_after=now + timedelta(hours=6))
            tags = {"cost-centre": f"{number * 1000}"} if team != "ops" else {}
            add_costs(storage, dag_id, now, tags=tags, per_day=per_day)
    database.add_dag("growth.odd")
    odd = build_run("growth.odd", 1, now, tags={}, dollars=None, instance_type="ml.odd.large")
    write_months(storage, "growth.odd", [odd])


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", NARROW)])
def test_the_money_is_on_the_first_screen_and_can_be_read_by_everybody(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    """Spent, forecast and lost, without scrolling; no serious violation of axe."""
    window = open_page("costs", scheme=scheme, width=width)
    window.wait_for_plots()
    window.save_screenshot(f"costs-{width}", whole=True)
    assert window.violations() == []
    text = text_of(window)
    for word in (
        "so far",
        "forecast of the month",
        "for failed or held runs",
        "Where money was lost",
        "No known price",
    ):
        assert word in text
    place = window.page.get_by_text("forecast of the month").bounding_box()
    assert place is not None
    assert place["y"] < 700
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.usefixtures("filled")
def test_a_team_its_months_and_its_table_for_spreadsheets_are_one_click_away(open_page: OpenPage) -> None:
    """The choice of the team stays."""
    window = open_page("costs")
    window.page.get_by_role("link", name="marketing", exact=True).click()
    assert "of marketing" in text_of(window)
    assert "risk" not in text_of(window)
    window.page.get_by_role("link", name="earlier month").click()
    assert "of marketing" in text_of(window)
    assert "in all" in text_of(window)
    with window.page.expect_download() as download:
        window.page.get_by_role("link", name="CSV").click()
    content = download.value.path().read_text()
    assert "marketing.pipeline_0" in content
    assert "risk" not in content
