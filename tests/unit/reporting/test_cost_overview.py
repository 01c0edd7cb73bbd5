"""The money of a month: every dollar in each table once, and no saving or forecast that nothing was measured for."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_inference.pricing.run_costs import CostDay, CostSums, ScheduledRuns, add_up
from batch_inference.reporting.charts.spending import build_spending_chart
from batch_inference.reporting.cost_overview import (
    PipelineCosts,
    Savings,
    build_overview,
    find_savings,
    forecast_month,
    list_months,
    render_csv,
    shift_month,
)

NOW = datetime(2026, 11, 11, tzinfo=UTC)
MONTH = "2026-11"


def day(number: int, dollars: float = 1.0, tags: dict[str, str] | None = None, **sums: Any) -> CostDay:
    """A day of November with a published run of 1,000 records."""
    return CostDay(
        f"2026-11-{number:02}", tags or {}, CostSums(dollars=dollars, **{"runs": 1, "jobs": 2, "records": 1000, **sums})
    )  # fmt: skip


def pipeline_costs(dag_id: str = "risk.churn", *days: CostDay, **changes: Any) -> PipelineCosts:
    """A pipeline with these days in November."""
    return PipelineCosts(dag_id=dag_id, team=dag_id.rpartition(".")[0], days={MONTH: days}, **changes)


def test_each_table_has_every_dollar_once() -> None:
    """By day, week, pipeline, team and tag."""
    overview = build_overview(
        [
            pipeline_costs("risk.churn", day(1, 1.0, {"centre": "7"}), day(2, 2.0, {"centre": "8"})),
            pipeline_costs("risk.fraud", day(30, 4.0)),
            pipeline_costs("top", day(2, 8.0, unpublished_runs=1, unpublished_dollars=8.0)),
        ],
        MONTH,
        now=NOW,
    )
    assert overview.total.dollars == 15.0
    assert {row.name: row.sums.dollars for row in overview.by_day} == {
        "2026-11-01": 1.0, "2026-11-02": 10.0, "2026-11-30": 4.0,
    }  # fmt: skip
    # A week has only the days of the month.
    assert {row.name: row.sums.dollars for row in overview.by_week} == {
        "1 Nov": 1.0, "2 to 8 Nov": 10.0, "30 Nov": 4.0,
    }  # fmt: skip
    assert [(row.name, row.sums.dollars) for row in overview.by_team] == [("(no team)", 8.0), ("risk", 7.0)]
    assert [(row.name, row.sums.dollars) for row in overview.by_tag["centre"]] == [
        ("(no tag)", 12.0), ("8", 2.0), ("7", 1.0),
    ]  # fmt: skip
    assert [row.dag_id for row in overview.pipelines] == ["top", "risk.fraud", "risk.churn"]
    assert [row.dag_id for row in overview.wasteful_pipelines] == ["top"]
    assert [(row.name, row.sums.dollars) for row in overview.by_month] == [
        ("2026-11", 15.0), ("2026-10", 0.0), ("2026-09", 0.0),
    ]  # fmt: skip


def test_a_past_month_has_no_forecast_and_a_pipeline_without_costs_no_row() -> None:
    """What is over is known."""
    overview = build_overview(
        [pipeline_costs("a", day(1)), pipeline_costs("b")], MONTH, now=NOW.replace(month=12)
    )
    assert overview.forecast is None
    assert [(row.dag_id, row.forecast) for row in overview.pipelines] == [("a", None)]


def test_the_forecast_is_spent_plus_the_runs_that_the_schedule_still_has() -> None:
    """Ten nights for a dollar each, and 20 to come; two dollars for runs of people in ten days of thirty."""
    first = datetime(2026, 11, 1, 2, tzinfo=UTC)
    scheduled = ScheduledRuns(10, 10.0, first.timestamp(), (first + timedelta(days=9)).timestamp())
    costs = pipeline_costs(
        "a", day(1, 12.0), scheduled={MONTH: scheduled}, next_run_at=datetime(2026, 11, 11, 2, tzinfo=UTC)
    )
    assert forecast_month(costs, MONTH, now=NOW) == pytest.approx(12 + 20 + 2 / 10 * 20)
    paused = pipeline_costs("a", day(1, 12.0), scheduled={MONTH: scheduled})
    assert forecast_month(paused, MONTH, now=NOW) == pytest.approx(12 + 2 / 10 * 20)


def test_the_forecast_of_a_month_that_has_just_begun_rests_on_the_month_before() -> None:
    """Thirty runs of October cost 60 dollars."""
    october = datetime(2026, 10, 1, 2, tzinfo=UTC)
    runs = ScheduledRuns(30, 60.0, october.timestamp(), (october + timedelta(days=29)).timestamp())
    start = datetime(2026, 11, 1, 2, tzinfo=UTC)
    this = ScheduledRuns(1, 2.0, start.timestamp(), start.timestamp())
    costs = pipeline_costs(
        "a", day(1, 2.0), scheduled={"2026-10": runs, MONTH: this}, next_run_at=start + timedelta(days=1)
    )
    assert forecast_month(costs, MONTH, now=start + timedelta(hours=1)) == pytest.approx(2 + 29 * 2)


def test_savings_of_size_schedule_and_type_are_those_that_were_measured() -> None:
    """One instance, fewer runs, and the settings of a trial."""
    sums = CostSums(
        runs=49, unpublished_runs=1, dollars=100.0, start_dollars=24.0, one_instance_dollars=30.0,
        one_instance_delay=48 * 90.0, trial_dollars=2.0,
    )  # fmt: skip
    # 48 runs on two days: 46 start-ups of half a dollar.
    assert find_savings(sums, run_days=2) == Savings(
        size="$30.00, a run 1 min 30 s longer",
        schedule="$23.00, in place of 24.0 runs a day",
        trial="$2.00",
    )


@pytest.mark.parametrize(
    "sums",
    [
        CostSums(runs=30, dollars=100.0),
        CostSums(runs=30, dollars=100.0, start_dollars=20.0),
        CostSums(runs=30, dollars=100.0, trial_dollars=0.5, one_instance_dollars=0.5, measured_seconds=1.0),
        CostSums(),
    ],
    ids=["nothing measured", "one run a day", "too little", "no run"],
)
def test_nothing_is_advised_that_saves_nothing(sums: CostSums) -> None:
    """A nightly run needs its start-up."""
    assert find_savings(sums, run_days=30) == Savings(size=None, schedule=None, trial=None)


def test_types_without_a_price_are_named_with_their_time() -> None:
    """They are in no sum."""
    overview = build_overview(
        [pipeline_costs("a", day(1, unpriced_seconds={"ml.odd.large": 7200.0}))], MONTH, now=NOW
    )
    assert overview.unpriced is not None
    assert overview.unpriced.startswith("No known price: 2 h 00 min of ml.odd.large")
    assert overview.total.dollars_per_1000_records == 1.0


def test_the_cost_of_records_has_a_unit_in_which_it_can_be_read() -> None:
    """One for the whole page, so that its rows can be compared."""
    for records, unit in ((1000, 1000), (1_000_000, 1_000_000), (0, 1000)):
        assert (
            build_overview([pipeline_costs("a", day(1, records=records))], MONTH, now=NOW).unit_records
            == unit
        )


def test_a_table_for_a_spreadsheet_has_every_day_and_runs_no_formula() -> None:
    """A tag is written by people."""
    tags = {"=cmd": "=HYPERLINK(1)", "team": "+1", "plain": "a-b"}
    text = render_csv(
        [pipeline_costs("risk.churn", day(1, 1.5, tags), day(2, unpriced_seconds={"x": 5.0}))], MONTH
    )
    header, first, second = csv.reader(io.StringIO(text))
    assert header[-3:] == ["tag:=cmd", "tag:plain", "tag:team"]
    assert first[:3] == ["2026-11-01", "risk.churn", "risk"]
    assert dict(zip(header, first, strict=True))["dollars"] == "1.500000"
    assert first[-3:] == ["'=HYPERLINK(1)", "a-b", "'+1"]
    assert dict(zip(header, second, strict=True))["instance_seconds_without_price"] == "5.000"
    assert not any(
        cell.startswith(("=", "+", "-", "@")) for line in csv.reader(io.StringIO(text)) for cell in line
    )


def test_months_follow_each_other_over_the_end_of_a_year() -> None:
    """The page shows three."""
    assert list_months("2026-01") == ["2026-01", "2025-12", "2025-11"]
    assert shift_month("2026-12", forward=True) == "2027-01"
    assert shift_month("2026-01", forward=True) == "2026-02"
    assert shift_month("2026-01", forward=False) == "2025-12"


def test_the_chart_has_a_column_for_each_day_and_one_for_what_was_lost() -> None:
    """Heights are in the data of the marks."""
    days = {"2026-11-03": CostSums(runs=2, dollars=3.0, unpublished_dollars=1.0, unpublished_runs=1)}
    chart = build_spending_chart(days, MONTH)
    assert chart is not None
    assert chart.svg.count("data-value") == 2
    assert 'data-value="3"' in chart.svg
    assert 'data-value="1"' in chart.svg
    assert chart.caption == "Most on 3 Nov: $3.00 for 2 runs, $1.00 of it for failed or held ones."
    assert build_spending_chart({}, MONTH) is None


def test_sums_add_up() -> None:
    """Types without a price by name."""
    total = add_up(
        [CostSums(runs=1, unpriced_seconds={"a": 1.0}), CostSums(runs=2, unpriced_seconds={"a": 2.0})]
    )
    assert total == CostSums(runs=3, unpriced_seconds={"a": 3.0})
    assert CostSums.from_document(total.to_document()) == total
