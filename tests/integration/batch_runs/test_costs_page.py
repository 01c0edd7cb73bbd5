"""The page of costs: what was stored of all pipelines that its reader may see, and nothing of others."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths, build_runs_prefix
from batch_runs import costs
from batch_runs.airflow_state import PipelinePlace
from tests.integration.batch_runs.cost_months import build_run, write_months
from tests.integration.batch_runs.database import Database

Browser = Callable[[str | None], TestClient]
NIGHT = datetime(2026, 3, 10, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def stored(database: Database, storage: Storage) -> None:
    """Two pipelines that a viewer may read, one that only an administrator may, and one that never had a job."""
    database.clear()
    costs._documents.clear()
    for dag_id, outcome, dollars in (
        ("open_risk.churn", "published", 0.5),
        ("open_risk.fraud", "failed", 1.5),
        ("secret.pay", "published", 100.0),
    ):
        database.add_dag(dag_id)
        write_months(
            storage,
            dag_id,
            [build_run(dag_id, 1, NIGHT, tags={"centre": "7"}, outcome=outcome, dollars=dollars)],
        )
    database.add_dag("open_new")


def test_a_reader_sees_the_sums_of_the_pipelines_that_he_may_read(
    read: Callable[[str], str], browser: Browser
) -> None:
    """Others are in no sum."""
    text = read("costs?month=2026-03")
    assert "Costs in March 2026" in text
    assert "$2.50 in all" in text
    assert "$1.75 for failed or held runs" in text
    assert "secret" not in text
    assert "forecast" not in text
    assert "$102.75 in all" in " ".join(
        browser("admin").get("costs?month=2026-03").text.replace("</strong>", "").split()
    )
    assert browser(None).get("costs").status_code == 401


def test_the_pipelines_that_lost_most_come_first_with_what_was_lost(read: Callable[[str], str]) -> None:
    """By what was measured."""
    text = read("costs?month=2026-03")
    lost = text[text.index("Where money was lost") :]
    assert lost.index("open_risk.fraud") < lost.index("open_risk.churn")
    assert "open_risk.fraud $1.75 $1.75 (1 run) – – – –" in lost
    assert "open_risk.churn $0.28 – $0.28 $0.20, a run 5 min 00 s longer – –" in lost


def test_a_team_has_its_own_sums_and_a_month_without_costs_says_so(
    database: Database, storage: Storage, read: Callable[[str], str]
) -> None:
    """The current month by default."""
    database.add_dag("open_top")
    write_months(storage, "open_top", [build_run("open_top", 1, NIGHT, tags={}, dollars=4.75)])
    assert "$7.50 in all" in read("costs?month=2026-03")
    assert "of open_risk" in read("costs?month=2026-03&team=open_risk")
    assert "$2.50 in all" in read("costs?month=2026-03&team=open_risk")
    assert "No run of a pipeline that you may see had a job in this month." in read("costs?month=2026-05")
    assert f"Costs in {datetime.now(UTC):%B %Y}" in read("costs")


def test_a_pipeline_whose_file_is_gone_keeps_its_costs(
    database: Database, storage: Storage, read: Callable[[str], str]
) -> None:
    """It cost money while it ran."""
    database.add_dag("open_gone", is_stale=True)
    write_months(storage, "open_gone", [build_run("open_gone", 1, NIGHT, tags={}, dollars=0.75)])
    assert "open_gone" in read("costs?month=2026-03")


def test_instance_types_without_a_price_are_said_and_not_counted_as_nothing(
    database: Database, storage: Storage, read: Callable[[str], str]
) -> None:
    """With the time that they ran."""
    database.add_dag("open_odd")
    odd = build_run("open_odd", 1, NIGHT, tags={}, dollars=None, instance_type="ml.odd.large")
    write_months(storage, "open_odd", [odd])
    text = read("costs?month=2026-03")
    assert "No known price: 20 min 00 s of ml.odd.large" in text
    assert "$2.75 in all" in text
    assert "over $0.25" in text


@pytest.mark.parametrize("month", ["2026-13", "2026", "x", "0001-01", "2026-03-01"])
def test_a_month_that_is_none_is_refused_by_name(browser: Browser, month: str) -> None:
    """As a page."""
    answer = browser("viewer").get(f"costs?month={month}")
    assert answer.status_code == 422
    assert "month" in answer.text


def test_the_table_for_spreadsheets_has_the_same_dollars(browser: Browser) -> None:
    """As a download, with the same rights."""
    answer = browser("viewer").get("costs.csv?month=2026-03")
    assert answer.headers["content-disposition"] == 'attachment; filename="costs-2026-03.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["pipeline"], row["tag:centre"]) for row in rows] == [
        ("open_risk.churn", "7"), ("open_risk.fraud", "7"),
    ]  # fmt: skip
    assert sum(float(row["dollars"]) for row in rows) == pytest.approx(2.5)


def test_a_month_that_cannot_be_read_is_said_and_gives_no_incomplete_download(
    storage: Storage, browser: Browser, read: Callable[[str], str]
) -> None:
    """The other pipelines are shown."""
    paths = CostPaths(build_runs_prefix(work="s3://bucket/work", pipeline="open_risk.fraud"))
    for content in ("no json", '{"version": 1}', '{"version": 9}', "[]"):
        costs._documents.clear()
        storage.write(paths.build_month_uri("2026-03"), content)
        text = read("costs?month=2026-03")
        assert "The costs of open_risk.fraud cannot be read, and no sum contains them" in text
        assert "$0.75 in all" in text
        assert browser("viewer").get("costs.csv?month=2026-03").status_code == 502


@pytest.mark.parametrize("lost", ["bucket", "DAG"])
def test_a_pipeline_that_is_gone_with_all_that_leads_to_its_costs_keeps_nobody_from_the_others(
    database: Database,
    storage: Storage,
    browser: Browser,
    read: Callable[[str], str],
    monkeypatch: Any,
    lost: str,
) -> None:
    """It is named, on the page and in a header; one that has its file is a problem."""
    gone, error = PipelinePlace("aws_test", None, "s3://no-such-bucket/work/open_gone/"), ValueError("no DAG")
    original = costs.read_places

    def read_places(session: Any, dag_ids: Any) -> Any:
        found = original(session, dag_ids)
        return {**found, "open_gone": gone if lost == "bucket" else error} if "open_gone" in found else found

    monkeypatch.setattr(costs, "read_places", read_places)
    database.add_dag("open_gone", is_stale=True)
    text = read("costs?month=2026-03")
    assert "open_gone, whose file is gone, is in no sum and not in the CSV" in text
    assert "$2.50 in all" in text
    answer = browser("viewer").get("costs.csv?month=2026-03")
    assert answer.status_code == 200
    assert answer.headers["X-Left-Out"] == "open_gone"
    assert "open_gone" not in answer.text
    assert "X-Left-Out" not in browser("viewer").get("costs.csv?month=2026-03&team=open_risk").headers
    database.change_dag("open_gone", is_stale=False)
    assert "The costs of open_gone cannot be read" in read("costs?month=2026-03")
    assert browser("viewer").get("costs.csv?month=2026-03").status_code == 502


def test_a_month_is_asked_for_once_and_again_when_it_may_have_changed(
    storage: Storage, read: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One GET for each pipeline and month; no list."""
    asked: list[str] = []
    original = costs._read_month

    def count(client: Any, uri: str) -> Any:
        client.meta.events.register_first(
            "before-call.s3", lambda model, **_: asked.append(model.name), "count"
        )
        return original(client, uri)

    monkeypatch.setattr(costs, "_read_month", count)
    read("costs?month=2026-03")
    assert asked == ["GetObject"] * 9
    read("costs?month=2026-03")
    assert len(asked) == 9
    monkeypatch.setattr(costs, "FRESH_SECONDS", 0.0)
    again = build_run("open_risk.churn", 1, NIGHT, tags={}, dollars=9.75)
    write_months(storage, "open_risk.churn", [again])
    assert "$11.75 in all" in read("costs?month=2026-03")
    assert asked == ["GetObject"] * 18
