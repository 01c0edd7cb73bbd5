"""How far a run is, and when it should end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch_inference.run import task_ids
from batch_runs.airflow_state import Run, Task
from batch_runs.jobs import ObjectCount
from batch_runs.progress import Progress, build_progress, compare_with_estimate

START = datetime(2026, 1, 31, 7, 30, tzinfo=UTC)
TASKS = (
    task_ids.PLAN, task_ids.PREPROCESS, task_ids.AWAIT_PREPROCESS, task_ids.TRANSFORM, task_ids.AWAIT_TRANSFORM,
    task_ids.JOIN, task_ids.CHECKS, task_ids.PUBLISH, task_ids.CLEAN_UP,
)  # fmt: skip
#: Of a plan: two jobs of 100 and 200 s, each after 60 s of provisioning, and 70 s of Airflow's own tasks.
STAGE = {"provisioning_seconds": 60.0}
ESTIMATE = {
    "preprocess": {**STAGE, "seconds": 100.0}, "transform": {**STAGE, "seconds": 200.0},
    "join": {"seconds": 0.0, "provisioning_seconds": 0.0}, "seconds": 490.0, "seconds_high": 600.0,
    "dollars": 0.03, "dollars_high": 0.05,
}  # fmt: skip
PLAN = {"estimate": ESTIMATE, "deadline": "2026-01-31T07:45:00Z"}


def a_run(state: str = "running", ended: float | None = None) -> Run:
    ended_at = None if ended is None else START + timedelta(seconds=ended)
    return Run(1, "churn", "night", "scheduled", state, START, START, ended_at, None)


def tasks(done: int, current: str = "running") -> list[Task]:
    """The tasks of a run, the first `done` of which have succeeded."""
    states = ["success"] * done + [current] + ["waiting"] * len(TASKS)
    return [
        Task(
            task_id=task_id, state=state, is_done=state == "success", map_index=-1, started_at=None, ended_at=None,
            try_number=1, task_instance_count=1,
        )
        for task_id, state in zip(TASKS, states, strict=False)
    ]  # fmt: skip


def job(
    stage: str, *, created: float, started: float | None = None, ended: float | None = None
) -> dict[str, Any]:
    """A stage of a live report; times are seconds since the start of the run."""
    times = {"created_at": created, "started_at": started, "ended_at": ended}
    moments = {key: None if value is None else START.timestamp() + value for key, value in times.items()}
    return {
        "stage": stage, "status": "InProgress", "instance_type": "ml.m5.large", "instance_count": 2,
        "billed_seconds": None if started is None else 10.0, "dollars": None if started is None else 0.01, **moments,
    }  # fmt: skip


def progress(
    done: int, at: float, *jobs: dict[str, Any], objects: ObjectCount | None = None, **more: Any
) -> Progress:
    found = build_progress(
        a_run(), tasks(done, **more), PLAN, {"stages": list(jobs)}, objects, now=START + timedelta(seconds=at)
    )
    assert found is not None
    return found


def test_a_run_is_in_its_first_stage_that_has_not_ended() -> None:
    found = progress(3, 180, job("preprocess", created=10, started=70, ended=170))
    assert (found.number, found.count, found.stage) == (3, 7, "transform")
    assert found.elapsed_seconds == 180
    assert found.dollars == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("job_times", "activity"),
    [
        ({"created": 10}, "waits for 2 × ml.m5.large"),
        ({"created": 10, "started": 70}, "runs on 2 × ml.m5.large"),
        ({"created": 10, "started": 70, "ended": 90}, "runs"),
    ],
)
def test_what_a_stage_does_or_waits_for_is_said(job_times: dict[str, float], activity: str) -> None:
    assert progress(2, 100, job("preprocess", **job_times)).activity == activity


def test_a_stage_that_waits_for_a_retry_says_so() -> None:
    assert progress(2, 100, current="up_for_retry").activity == "waits for its next try"


def test_a_stage_of_which_one_instance_has_failed_goes_on_while_others_run() -> None:
    *before, transform = tasks(4, current="failed")[:5]
    mapped = replace(transform, is_done=False, task_instance_count=3)
    found = build_progress(a_run(), [*before, mapped], PLAN, None, None, now=START)
    assert found is not None
    assert (found.stage, found.activity) == ("transform", "runs")


@pytest.mark.parametrize(
    ("done", "at", "jobs", "objects", "remaining"),
    [
        # Of the 70 s of Airflow's own tasks, those of the stages that have not ended: 6, 5 and 5 of 7.
        (1, 10, [], None, 60 + 100 + 60 + 200 + 60),
        (3, 200, [{"created": 190}], None, 50 + 200 + 50),
        (3, 300, [{"created": 190, "started": 250}], None, 150 + 50),
        # A quarter is done after 50 s.
        (3, 300, [{"created": 190, "started": 250}], ObjectCount(done=10, total=40), 150 + 50),
        (3, 300, [{"created": 190, "started": 250}], ObjectCount(done=5, total=40), 350 + 50),
        (3, 300, [{"created": 190, "started": 250}], ObjectCount(done=0, total=40), 150 + 50),
    ],
)
def test_the_end_follows_from_the_plan_and_from_the_objects_that_are_done(
    done: int, at: float, jobs: list[dict[str, float]], objects: ObjectCount | None, remaining: float
) -> None:
    found = progress(done, at, *(job("transform", **each) for each in jobs), objects=objects)
    assert found.ends_at is not None
    assert (found.ends_at - START).total_seconds() == pytest.approx(at + remaining)


def test_a_job_that_takes_longer_than_planned_has_no_known_end() -> None:
    found = progress(3, 700, job("transform", created=190, started=250))
    assert found.ends_at is None
    assert found.unknown_end == "transform takes longer than planned"
    assert found.is_slow


def test_of_a_job_whose_state_is_not_known_no_end_follows() -> None:
    unknown = {**job("transform", created=190), "status": "unknown", "created_at": None}
    found = progress(3, 300, unknown)
    assert (found.ends_at, found.unknown_end) == (None, "the state of a job is not known")


def test_a_run_that_will_end_after_its_deadline_is_late() -> None:
    """The deadline is 900 s after the start."""
    assert not progress(3, 300, job("transform", created=190, started=250)).is_late
    objects = ObjectCount(done=1, total=40)
    assert progress(3, 300, job("transform", created=190, started=250), objects=objects).is_late


def test_a_run_that_has_ended_has_no_progress_and_its_figures_beside_the_estimates() -> None:
    ended = a_run("success", 550)
    assert build_progress(ended, tasks(9), PLAN, None, None, now=START) is None
    report = {"estimate": ESTIMATE, "stages": [job("transform", created=0)], "total": {"dollars": 0.06}}
    time, cost = compare_with_estimate(ended, report)
    assert (time.expected, time.highest, time.actual, time.is_above) == (
        "8 min 10 s", "10 min 00 s", "9 min 10 s", False,
    )  # fmt: skip
    assert (cost.expected, cost.highest, cost.actual, cost.is_above) == (
        "$0.03",
        "$0.05",
        "$0.06",
        True,
    )
    assert compare_with_estimate(a_run(), report) == []
