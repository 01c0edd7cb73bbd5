"""Whether a run is late or will be, from its deadline, its plan and the states of its tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_inference.config.schedule import resolve_due_time
from batch_inference.run.lateness import (
    PlannedRun,
    describe_late_end,
    describe_lateness,
    estimate_end,
    find_due_time,
    read_run_after,
)
from batch_inference.run.outcomes import parse_due_time
from tests.unit.builders import pipeline, plan

START = datetime(2026, 1, 31, 2, tzinfo=UTC)
DUE = datetime(2026, 1, 31, 6, tzinfo=UTC)
RUN = "scheduled__2026-01-31T02:00:00+00:00"
MINUTE = timedelta(minutes=1)
TASKS = (
    "plan",
    "preprocess",
    "await_preprocess",
    "transform",
    "await_transform",
    "join",
    "publish",
    "clean_up",
)


def states(**known: str | None) -> dict[str, str | None]:
    """The states of a run's tasks; those that are not named have not begun."""
    return {**dict.fromkeys(TASKS), **known}


def planned(*, due: datetime | None = DUE, minutes: float = 30) -> PlannedRun:
    """A run that was planned at its start, of two stages of ten minutes; the whole takes `minutes`."""
    run_plan = plan()
    stage = run_plan.estimate.transform.model_copy(update={"seconds": 480.0, "provisioning_seconds": 120.0})
    estimate = run_plan.estimate.model_copy(
        update={"preprocess": stage, "transform": stage, "seconds": minutes * 60}
    )
    return PlannedRun(run_plan.model_copy(update={"estimate": estimate, "due": due}), START)


@pytest.mark.parametrize(
    ("run_id", "run_after"),
    [
        (RUN, START),
        ("asset_triggered__2026-01-31T02:00:00+00:00_a1b2C3d4", START),
        ("scheduled__2026-01-31T02:00:00.123456+00:00", START.replace(microsecond=123456)),
        ("manual__2026-01-31T02:00:00+00:00_a1b2C3d4", None),
        ("backfill__2026-01-31T02:00:00+00:00", None),
        ("scheduled__2026-01-31", None),
        ("scheduled__by a person", None),
        ("nightly", None),
    ],
)
def test_the_id_of_a_run_that_nobody_started_says_when_it_was_due_to_begin(
    run_id: str, run_after: datetime | None
) -> None:
    assert read_run_after(run_id) == run_after


@pytest.mark.parametrize(
    ("deadline", "run_after", "now", "due"),
    [
        ("06:00", START, START + MINUTE, DUE),
        ("06:00", START, DUE + MINUTE, DUE),
        ("06:00", None, DUE + MINUTE, DUE + timedelta(days=1)),
        ("06:00", START, DUE + timedelta(days=40, minutes=1), DUE + timedelta(days=41)),
        (90, START, DUE, DUE + 90 * MINUTE),
        ("90", START, DUE, DUE + 90 * MINUTE),
    ],
)
def test_a_time_of_day_counts_from_when_a_run_should_have_begun_and_minutes_from_its_plan(
    deadline: Any, run_after: datetime | None, now: datetime, due: datetime
) -> None:
    """A run that begins after its deadline is late at once; one of last month that is cleared is not."""
    assert resolve_due_time(deadline, run_after=run_after, now=now) == due


def test_before_it_has_a_plan_a_run_has_the_deadline_of_its_pipeline() -> None:
    """From the time at which it should have begun; a run by hand has none until it is planned."""
    by_clock, by_minutes = (pipeline({"goals.deadline": each}) for each in ("06:00", 30))
    assert find_due_time(by_clock, None, RUN, START) == DUE
    assert find_due_time(by_minutes, None, RUN, START) == START + 30 * MINUTE
    assert find_due_time(by_clock, None, "manual__2026-01-31T02:00:00+00:00", START) is None
    assert find_due_time(pipeline(), None, RUN, START) is None


def test_the_plan_of_a_run_knows_its_deadline() -> None:
    """Which a person may have given it, or taken away."""
    by_clock = pipeline({"goals.deadline": "06:00"})
    assert find_due_time(by_clock, planned(due=DUE + MINUTE), RUN, START) == DUE + MINUTE
    assert find_due_time(by_clock, planned(due=None), RUN, START) is None


def test_a_run_that_is_cleared_a_week_later_is_not_late_before_it_is_planned_again() -> None:
    assert find_due_time(pipeline({"goals.deadline": "06:00"}), None, RUN, DUE + timedelta(days=7)) is None


@pytest.mark.parametrize(
    ("begun", "elapsed", "end"),
    [
        ({"plan": "success"}, 1, 30),
        ({"plan": "success", "preprocess": "queued"}, 15, 35),
        ({"preprocess": "success", "await_preprocess": "deferred"}, 15, 30),
        ({"preprocess": "success", "await_preprocess": "deferred"}, 25, 35),
        ({"preprocess": "success", "transform_0": "success", "transform_1": None}, 25, 30),
    ],
)
def test_the_end_is_that_of_the_plan_or_later_by_what_has_not_begun(
    begun: dict[str, str | None], elapsed: int, end: int
) -> None:
    """Minutes from the plan; each stage takes ten, provisioning included."""
    now = START + elapsed * MINUTE
    assert estimate_end(planned(), states(**begun), now) == START + end * MINUTE


@pytest.mark.parametrize(
    ("of_plan", "known", "now", "sentence"),
    [
        (None, {}, DUE - MINUTE, None),
        (None, {}, DUE, "churn, run r, is late: its deadline was 2026-01-31 06:00 UTC. It has not begun."),
        (
            None,
            {"plan": "running"},
            DUE,
            "churn, run r, is late: its deadline was 2026-01-31 06:00 UTC. It is at `plan`.",
        ),
        (planned(), {"plan": "success"}, DUE - 20 * MINUTE, None),
        (
            planned(),
            {"plan": "success"},
            DUE - 19 * MINUTE,
            (
                "churn, run r, will be late: its deadline is 2026-01-31 06:00 UTC. "
                "It waits to begin `preprocess`, and should end at 2026-01-31 06:01 UTC at the earliest."
            ),
        ),
        (
            planned(minutes=10),
            {
                "plan": "success",
                "preprocess": "success",
                "await_preprocess": "success",
                "transform_0": "success",
                "transform_1": "success",
                "await_transform_0": "deferred",
                "await_transform_1": "up_for_retry",
            },
            DUE,
            (
                "churn, run r, is late: its deadline was 2026-01-31 06:00 UTC. "
                "It is at `await_transform`, and should have ended by 2026-01-31 06:00 UTC."
            ),
        ),
    ],
)
def test_the_sentence_says_deadline_place_and_end(
    of_plan: PlannedRun | None, known: dict[str, str | None], now: datetime, sentence: str | None
) -> None:
    found = describe_lateness("churn", "r", due=DUE, planned=of_plan, states=states(**known), now=now)
    assert found == sentence


def test_a_late_end_is_described_and_one_in_time_is_not() -> None:
    assert describe_late_end("churn", "r", due=DUE, ended_at=DUE) is None
    assert describe_late_end("churn", "r", due=DUE, ended_at=DUE + 20 * MINUTE) == (
        "churn, run r, ended at 2026-01-31 06:20 UTC, 20 min 00 s after its deadline (2026-01-31 06:00 UTC)."
    )


@pytest.mark.parametrize(
    ("document", "due"),
    [
        ({"due": DUE.isoformat(), "deadline": (DUE + MINUTE).isoformat()}, DUE),
        ({"deadline": DUE.isoformat()}, DUE),
        ({"due": None, "deadline": None}, None),
        ({"due": "at dawn"}, None),
        ("no plan", None),
    ],
)
def test_pages_have_the_deadline_of_the_notice(document: Any, due: datetime | None) -> None:
    """Also of a plan that an earlier version made."""
    assert parse_due_time(document) == due
