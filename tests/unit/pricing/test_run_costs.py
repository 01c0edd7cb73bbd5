"""What runs cost, by day and month: every job once, whatever became of its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from batch_inference.pricing.costs import Price, Prices
from batch_inference.pricing.run_costs import (
    CostMonth,
    CostSums,
    JobCost,
    RunCost,
    RunEfficiency,
    add_up,
    build_month,
    measure_efficiency,
    read_days,
)

PRICES = Prices(
    as_of=datetime(2026, 1, 1, tzinfo=UTC).date(),
    region="us-east-1",
    per_hour={"ml.m5.xlarge": Price(price=0.36)},
)
NIGHT = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()


def job(name: str = "a", *, start: float | None = NIGHT, **changes: Any) -> JobCost:
    """An hour of one instance for 36 cents."""
    fields = {
        "job_name": name, "kind": "Transform", "stage": "transform", "status": "Completed",
        "instance_type": "ml.m5.xlarge", "instance_count": 1, "created_at": NIGHT, "started_at": start,
        "ended_at": None if start is None else start + 3600, "billed_seconds": 3600.0, "dollars": 0.36,
    }  # fmt: skip
    return JobCost.model_validate({**fields, **changes})


def run(token: str = "t1", *jobs: JobCost, **changes: Any) -> RunCost:
    """A published run of 1,000 records."""
    fields = {
        "pipeline": "churn", "run_id": f"run-{token}", "token": token, "outcome": "published", "is_scheduled": True,
        "started_at": NIGHT, "ended_at": NIGHT + 3600, "tags": {"team": "risk"}, "records": 1000,
        "jobs": jobs or (job(),),
    }  # fmt: skip
    return RunCost.model_validate({**fields, **changes})


def test_a_run_over_midnight_counts_each_job_on_its_day_and_its_records_on_the_last() -> None:
    """The first job began in November, the second one in December."""
    cost = run("t1", job("a"), job("b", start=NIGHT + 7200))
    assert cost.months == ["2026-11", "2026-12"]
    november, december = (build_month("churn", month, [cost]).days[0] for month in ("2026-11", "2026-12"))
    assert (november.day, november.sums) == (
        "2026-11-30",
        CostSums(jobs=1, dollars=0.36, billed_seconds=3600),
    )
    assert december.day == "2026-12-01"
    assert december.sums == CostSums(runs=1, jobs=1, dollars=0.36, billed_seconds=3600, records=1000)


def test_a_run_that_is_counted_again_replaces_what_was_counted() -> None:
    """A cleared `clean_up`, and a job whose end became known."""
    month = build_month("churn", "2026-11", [run("t1"), run("t2")])
    again = month.add_run(run("t1", job(billed_seconds=7200.0, dollars=0.72)))
    assert add_up(day.sums for day in again.days).dollars == pytest.approx(1.08)
    assert add_up(day.sums for day in again.days).runs == 2


def test_a_job_that_had_not_ended_is_remembered_until_it_has() -> None:
    """So that the next run counts it again."""
    month = build_month("churn", "2026-11", [run("t1", job(ended_at=None))])
    assert month.find_unended_tokens() == ["t1"]
    assert month.add_run(run("t1")).find_unended_tokens() == []


def test_failed_and_held_runs_cost_and_an_empty_one_is_no_failure() -> None:
    """What was paid for nothing is told apart."""
    outcomes = ("published", "failed", "held", "empty")
    costs = [run(f"t{at}", outcome=outcome, records=None) for at, outcome in enumerate(outcomes)]
    (day,) = build_month("churn", "2026-11", costs).days
    assert (day.sums.runs, day.sums.unpublished_runs) == (4, 2)
    assert day.sums.dollars == pytest.approx(1.44)
    assert day.sums.unpublished_dollars == pytest.approx(0.72)


def test_seconds_without_a_price_are_kept_apart() -> None:
    """A sum never hides what it does not know."""
    unknown = job("b", instance_type="ml.odd.large", dollars=None, billed_seconds=60.0)
    cost = run("t1", job(), unknown)
    (day,) = build_month("churn", "2026-11", [cost]).days
    assert cost.dollars is None
    assert day.sums.dollars == 0.36
    assert day.sums.unpriced_seconds == {"ml.odd.large": 60.0}
    assert CostSums().dollars_per_1000_records is None
    assert build_month("churn", "2026-11", [run()]).days[0].sums.dollars_per_1000_records == 0.36


def test_jobs_that_only_an_earlier_record_has_are_kept() -> None:
    """AWS may list a job no longer, or not to this role."""
    cost = run("t1", job("b")).add_earlier(run("t1", job("a"), job("b", billed_seconds=1.0)))
    assert [(each.job_name, each.billed_seconds) for each in cost.jobs] == [("a", 3600.0), ("b", 3600.0)]


def test_a_month_reads_back_and_its_days_need_no_runs() -> None:
    """The page reads days and schedule only."""
    month = build_month("churn", "2026-11", [run("t1"), run("t2", is_scheduled=False)])
    document = month.to_document()
    assert CostMonth.from_document(document) == month
    days, scheduled = read_days({key: value for key, value in document.items() if key != "runs"})
    assert days == month.days
    assert (scheduled.count, scheduled.dollars, scheduled.first_at) == (1, 0.36, NIGHT)
    assert CostMonth.from_document({**document, "version": 2}) is None
    for wrong in ({**document, "version": 2}, {"version": 1}, {**document, "scheduled": {"odd": 1}}):
        with pytest.raises(ValueError, match="it "):
            read_days(wrong)


def stage(**changes: Any) -> dict[str, Any]:
    """Four instances that started for 100 s and worked 500 s each, but one of them 900 s."""
    fields = {
        "instance_type": "ml.m5.xlarge", "instance_count": 4, "busy_seconds": 2400.0, "start_seconds": 100.0,
        "running_seconds": 1000.0, "billed_seconds": 4000.0, "earlier_billed_seconds": 0.0, "idle_seconds": 1600.0,
        "billed_by_type": None, "stage": "transform",
    }  # fmt: skip
    return {**fields, **changes}


REPORT: dict[str, Any] = {"stages": [stage()], "trials": [], "input": {"text_bytes": 1_000_000}}


def test_one_instance_would_have_started_once_and_waited_for_nobody() -> None:
    """2,500 s in place of 4,000 instance-seconds, at 0.0001 dollars each, and 1,500 s later."""
    found = measure_efficiency(REPORT, PRICES, seconds_to_spare=None)
    assert found.model_dump() == pytest.approx(
        {
            "measured_seconds": 4000, "idle_seconds": 1600, "idle_dollars": 0.16, "start_dollars": 0.04,
            "one_instance_dollars": 0.15, "one_instance_delay": 1500, "trial_dollars": 0,
        }
    )  # fmt: skip


def test_a_saving_that_would_miss_the_deadline_is_none() -> None:
    """Idle time and start-up stay measured."""
    late = measure_efficiency(REPORT, PRICES, seconds_to_spare=1499.0)
    assert (late.one_instance_dollars, late.one_instance_delay, late.idle_seconds) == (0, 0, 1600)
    assert measure_efficiency(REPORT, PRICES, seconds_to_spare=1500.0).one_instance_dollars > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"busy_seconds": None, "idle_seconds": None},
        {"instance_type": "ml.odd.large"},
        {"billed_by_type": {"ml.m5.xlarge": 1.0, "ml.c5.xlarge": 1.0}},
    ],
)
def test_what_was_not_measured_or_has_no_price_counts_for_nothing(changes: dict[str, Any]) -> None:
    """No figure is a guess."""
    report = {**REPORT, "stages": [stage(**changes)]}
    assert measure_efficiency(report, PRICES, seconds_to_spare=None) == RunEfficiency()


@pytest.mark.parametrize(
    ("trial", "saved"),
    [
        # The others took 2,400 s for 900,000 bytes: 0.24 dollars. At the trial's 100 s for 100,000: 0.09.
        ({"busy_seconds": 100.0, "completed": True}, 0.15),
        ({"busy_seconds": 400.0, "completed": True}, 0.0),
        ({"busy_seconds": 100.0, "completed": False}, 0.0),
        ({"busy_seconds": None, "idle_seconds": None, "completed": True}, 0.0),
    ],
    ids=["cheaper", "dearer", "failed", "not measured"],
)
def test_the_best_trial_says_what_its_settings_would_have_saved(trial: dict[str, Any], saved: float) -> None:
    """By the work of both, without start-up."""
    report = {**REPORT, "trials": [stage(instance_count=1, bytes=100_000, **trial)]}
    found = measure_efficiency(report, PRICES, seconds_to_spare=None)
    assert found.trial_dollars == pytest.approx(saved)


def test_the_run_that_releases_a_held_one_does_not_say_how_that_began() -> None:
    """A person released what the schedule had started; the held run, cleared later, does not undo it."""
    held = run("t1", outcome="held", records=None, run_id="nightly")
    released = run("t1", run_id="manual", is_scheduled=False, started_at=NIGHT + 9000, tags={}).add_earlier(
        held
    )
    assert (released.outcome, released.records, released.is_scheduled) == ("published", 1000, True)
    assert (released.started_at, released.tags) == (NIGHT, {"team": "risk"})
    for outcome in ("held", "failed"):
        again = held.model_copy(update={"outcome": outcome}).add_earlier(released)
        assert (again.outcome, again.records, again.run_id) == ("published", 1000, "manual")
    # What the same run says later is true.
    assert run("t1", outcome="failed").add_earlier(run("t1")).outcome == "failed"


def test_a_job_that_started_in_the_next_month_leaves_the_month_of_its_creation() -> None:
    """It counted there until it started."""
    month = build_month("churn", "2026-11", [run("t1", job(start=None)), run("t2")])
    started = run("t1", job(start=NIGHT + 7200))
    assert list(month.add_run(started).runs) == ["t2"]
    assert build_month("churn", "2026-11", [started]).runs == {}


def test_the_plans_of_a_run_are_summed_without_those_that_are_known() -> None:
    """By the run's id."""
    month = build_month("churn", "2026-11", [run("t1", run_id="r"), run("t2", run_id="r"), run("t3")])
    assert month.sum_run("r", except_for={"t2"}).dollars == pytest.approx(0.36)
    assert month.sum_run("other", except_for=()) == CostSums()


@pytest.mark.parametrize("changes", [{"runs": "?"}, {"runs": "eJw="}, {"pipeline": None, "runs": 5}])
def test_a_damaged_month_is_an_error_of_one_kind(changes: dict[str, Any]) -> None:
    """Whatever is damaged."""
    document = build_month("churn", "2026-11", [run("t1")]).to_document()
    with pytest.raises(ValueError, match="it is not a month's costs"):
        CostMonth.from_document({**document, **changes})
