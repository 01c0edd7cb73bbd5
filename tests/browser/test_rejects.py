"""Rejected records and the first joined rows in a browser: what is wrong is seen, and what matters stays in view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.reporting.warnings import build_warnings
from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import DESKTOP, NARROW, OpenPage, text_of
from tests.browser.pipelines_of_teams import REASONS, Teams
from tests.integration.batch_runs.database import Database
from tests.unit.reporting.test_charts import everything

pytestmark = pytest.mark.usefixtures("teams")
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", NARROW), ("dark", NARROW)]
ROOT = "s3://bucket/work/open_rejects/"


def example(line: int, found: str, allowed: str) -> dict[str, Any]:
    text = (
        f"{line},ana {line},{found.strip(chr(39))},Rua do Salitre {line},1250-096,Lisboa,2026-01-05,14.{line}"
    )
    return {
        "source": f"s3://data/in/date=2026-01-05/part-0000{line % 3}.csv", "line": line, "record": line - 1,
        "found": found, "allowed": allowed, "text": text,
    }  # fmt: skip


GROUPS: list[dict[str, Any]] = [
    {"rule": "type", "column": "income", "records": 18_000,
     "examples": [example(line, f"'{line},50'", "a number") for line in range(2, 7)]},
    {"rule": "adult", "column": "age", "records": 988,
     "examples": [example(line, "17", "at least 18") for line in range(20, 25)]},
    {"rule": "arity", "column": "", "records": 12,
     "examples": [example(90, "7 fields", "8, as the other records of the object have")]},
]  # fmt: skip


@pytest.fixture(scope="module")
def teams(database: Database, storage: Storage) -> Teams:
    """A run that failed on max_rejected, and a published one with many rejects, few rows and many columns."""
    teams = Teams(database, storage)
    teams.add_pipeline("open_rejects", 0)
    teams.add_failed_run("open_rejects", REASONS["rejects"], run_id="failed")
    database.push_xcom(
        "open_rejects", "failed", "await_preprocess", place_rejects(storage), key="shard_stats"
    )
    report = everything()
    report["records"] = {
        "in": 20_000, "rejected": 19_000, "scored": 1_000,
        "rejected_by_reason": {"type": 18_000, "adult": 988, "arity": 12},
    }  # fmt: skip
    report["warnings"] = build_warnings(report["records"], rows=1_000, rows_before=[20_000] * 7)
    prefix = f"{ROOT}published/pre/rejects/"
    report["reject_details"] = {"groups": GROUPS, "withheld_columns": [], "prefixes": [prefix]}
    report["leading_columns"] = ["customer_id", "churn"]
    wide = {f"measurement_{number}": number * 1.5 for number in range(20)}
    report["first_rows"] = [{**wide, "customer_id": f"c-{n}", "churn": 0.1 * n} for n in range(5)]
    storage.write(f"{prefix}algo-1-00000.jsonl", '{"record": 1}\n')
    teams.add_published_run("open_rejects", "published", report, night=0.2)
    return teams


def place_rejects(storage: Storage) -> dict[str, Any]:
    """Write the rejects of the failed run; the counts of `await_preprocess` that name them."""
    root = f"{ROOT}failed/pre/"
    document = {"version": 1, "records_in": 20_000, "withheld_columns": [], "reject_groups": GROUPS}
    storage.write_json(f"{root}rejects.json", document)
    storage.write(f"{root}rejects/algo-1-00000.jsonl", '{"record": 1}\n{"record": 2}\n')
    rejected = {group["rule"]: group["records"] for group in GROUPS}
    return {
        "preprocess_job": "pre", "records_in": 20_000, "records_out": 1_000,
        "rejected": rejected, "count": 3, "reject_summary": f"{root}rejects.json",
    }  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_a_run_that_failed_on_its_rejects_shows_them(
    open_page: OpenPage, scheme: str, width: int, tmp_path: Path
) -> None:
    """With examples without a click, and all of them with one."""
    window = open_page("run", dag_id="open_rejects", run_id="failed", scheme=scheme, width=width)
    window.page.get_by_text("95% of the records").wait_for()
    window.save_screenshot(f"rejects-failed-{width}", whole=True)
    assert window.violations() == []
    text = text_of(window)
    assert "type income 18,000 90%" in text
    assert "'2,50' a number" in text
    assert window.page.evaluate("document.documentElement.scrollWidth") <= width
    window.page.get_by_text("5 examples of: adult, age").click()
    window.page.get_by_text("at least 18").first.wait_for()
    with window.page.expect_download() as started:
        window.page.get_by_role("link", name="rejects.jsonl").click()
    started.value.save_as(tmp_path / "rejects.jsonl")
    assert (tmp_path / "rejects.jsonl").read_text() == '{"record": 1}\n{"record": 2}\n'


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_key_and_prediction_stay_in_view_and_a_share_above_the_bound_is_coloured(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    window = open_page("run", dag_id="open_rejects", run_id="published", scheme=scheme, width=width)
    share = window.page.locator("strong.warn", has_text="95%")
    share.wait_for()
    warning = "getComputedStyle(document.documentElement).getPropertyValue('--warn').trim()"
    assert window.page.evaluate(warning)
    colour, plain = (
        window.page.locator(selector).first.evaluate("each => getComputedStyle(each).color")
        for selector in ("strong.warn", "main p")
    )
    assert colour != plain
    rows = window.page.get_by_role("region", name="First joined rows")
    rows.evaluate("each => { each.scrollLeft = each.scrollWidth }")
    rows.scroll_into_view_if_needed()
    window.save_screenshot(f"rejects-published-{width}", whole=True)
    assert window.violations() == []
    frame = rows.bounding_box()
    assert frame is not None
    for name in ("customer_id", "churn"):
        head = rows.get_by_role("columnheader", name=name).bounding_box()
        assert head is not None
        assert frame["x"] - 1 <= head["x"] < head["x"] + head["width"] <= frame["x"] + frame["width"]
    assert window.page.evaluate("document.documentElement.scrollWidth") <= width
