"""Tells how far an active run is: its stage, its objects, its time, when it should end, and what it cost so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batch_inference.common.formatting import format_dollars, format_duration
from batch_inference.pricing.costs import sum_if_known
from batch_inference.run import task_ids
from batch_inference.run.outcomes import parse_due_time
from batch_runs.airflow_state import DONE_STATES, Run, Task
from batch_runs.jobs import ObjectCount

#: The stages of a run as people call them, with their tasks; a run has those of which it has a task.
STAGES: tuple[tuple[str, frozenset[str]], ...] = (
    ("plan", frozenset({task_ids.PLAN, task_ids.AWAIT_APPROVAL})),
    ("preprocess", frozenset({task_ids.PREPROCESS, task_ids.AWAIT_PREPROCESS})),
    ("cut input", frozenset({task_ids.CUT_INPUT, task_ids.WRITE_MANIFESTS})),
    ("canary", frozenset({task_ids.TRANSFORM_CANARY, task_ids.AWAIT_CANARY, task_ids.CALIBRATE})),
    (
        "transform",
        frozenset(
            {
                task_ids.SELECT_TRIALS, task_ids.TRANSFORM_TRIAL, task_ids.AWAIT_TRIAL, task_ids.TRANSFORM,
                task_ids.AWAIT_TRANSFORM,
            }
        ),
    ),
    (
        "join",
        frozenset(
            {
                task_ids.CHOOSE_JOIN, task_ids.JOIN, task_ids.JOIN_JOB, task_ids.AWAIT_JOIN_JOB,
                task_ids.COLLECT_PARTS,
            }
        ),
    ),
    ("check", frozenset({task_ids.CHECKS})),
    ("publish", frozenset({task_ids.PUBLISH})),
    ("clean up", frozenset({task_ids.CLEAN_UP})),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an active run is. What is not known is None.

    Attributes:
        stage: the name of the first stage that has not ended; `number` is its place among all `count` of the run.
        activity: what the stage does or waits for.
        objects: of the transform that runs.
        elapsed_seconds: since the run started.
        ends_at: when the run should end, by the plan and by how far the jobs are; None once a job takes longer.
        latest_end: when it ends at the latest, with the confidence of the plan.
        unknown_end: why `ends_at` is None.
        is_slow: whether it takes longer than the plan's latest end.
        deadline: when the run is late, as `notify.on_late` says it too.
        dollars, expected_dollars, highest_dollars: what the jobs cost so far, and by the plan.
    """

    stage: str
    number: int
    count: int
    activity: str
    objects: ObjectCount | None
    elapsed_seconds: float | None
    ends_at: datetime | None
    unknown_end: str
    latest_end: datetime | None
    deadline: datetime | None
    is_slow: bool
    dollars: float | None
    expected_dollars: float | None
    highest_dollars: float | None

    @property
    def is_late(self) -> bool:
        """Whether the run will miss its deadline if it goes on as it does."""
        expected = self.ends_at or self.latest_end
        return self.deadline is not None and expected is not None and expected > self.deadline


def build_progress(
    run: Run,
    tasks: Sequence[Task],
    plan: Mapping[str, Any] | None,
    report: Mapping[str, Any] | None,
    objects: ObjectCount | None,
    *,
    now: datetime,
) -> Progress | None:
    """The progress of a run; None of one that has ended, waits, or has no task yet."""
    stages = _list_stages(tasks)
    if run.has_ended or run.state == "queued" or not stages:
        return None
    number = next((at for at, (_, of_stage) in enumerate(stages) if not _is_done(of_stage)), len(stages) - 1)
    name, of_stage = stages[number]
    jobs = {} if report is None else {stage["stage"]: stage for stage in report["stages"]}
    estimate: Mapping[str, Any] = {} if plan is None else plan["estimate"]
    elapsed = None if run.started_at is None else (now - run.started_at).total_seconds()
    latest_end = _add_seconds(run.started_at, estimate.get("seconds_high"))
    remaining = None
    if estimate and run.started_at is not None:
        remaining = _estimate_remaining(estimate, dict(stages[number:]), jobs, objects, now, len(stages))
    return Progress(
        stage=name,
        number=number + 1,
        count=len(stages),
        activity=_describe_activity(of_stage, jobs.get(name)),
        objects=objects,
        elapsed_seconds=elapsed,
        ends_at=None if remaining is None else datetime.fromtimestamp(now.timestamp() + remaining, UTC),
        unknown_end="the state of a job is not known"
        if any(jobs[each]["status"] == "unknown" for each in jobs.keys() & dict(stages[number:]).keys())
        else f"{name} takes longer than planned",
        latest_end=latest_end,
        is_slow=latest_end is not None and latest_end < now,
        deadline=parse_due_time(plan),
        dollars=sum_if_known(job["dollars"] for job in jobs.values() if job["billed_seconds"] is not None),
        expected_dollars=estimate.get("dollars"),
        highest_dollars=estimate.get("dollars_high"),
    )


def _list_stages(tasks: Sequence[Task]) -> list[tuple[str, list[Task]]]:
    by_id = {task.task_id: task for task in tasks}
    found = [(name, [by_id[task_id] for task_id in by_id if task_id in ids]) for name, ids in STAGES]
    return [(name, of_stage) for name, of_stage in found if of_stage]


def _is_done(tasks: Sequence[Task]) -> bool:
    return all(task.is_done for task in tasks)


def _describe_activity(tasks: Sequence[Task], job: Mapping[str, Any] | None) -> str:
    states = {task.state for task in tasks}
    if "up_for_retry" in states:
        return "waits for its next try"
    if "awaiting_input" in states:
        return "waits for a person's approval"
    if job is not None and job["ended_at"] is None and job["status"] != "unknown":
        where = f"{job['instance_count'] or 1} × {job['instance_type']}"
        return f"waits for {where}" if job["started_at"] is None else f"runs on {where}"
    is_partly_done = any(task.state in DONE_STATES and not task.is_done for task in tasks)
    if "running" in states or "deferred" in states or is_partly_done:
        return "runs"
    return "is about to start"


def _estimate_remaining(
    estimate: Mapping[str, Any],
    open_stages: Mapping[str, Any],
    jobs: Mapping[str, Mapping[str, Any]],
    objects: ObjectCount | None,
    now: datetime,
    stage_count: int,
) -> float | None:
    """Seconds until the run should end; None once its current job takes longer than planned, or is unknown.

    The time that the plan has beside its jobs, of Airflow's own tasks, is spread over the stages.
    """
    planned = {name: estimate[name] for name in ("preprocess", "transform", "join")}
    of_jobs = sum(
        each["seconds"] + each["provisioning_seconds"] for each in planned.values() if each["seconds"]
    )
    remaining: float = max(0.0, estimate["seconds"] - of_jobs) * len(open_stages) / stage_count
    for name in planned.keys() & open_stages.keys():
        seconds, provisioning = planned[name]["seconds"], planned[name]["provisioning_seconds"]
        job = jobs.get(name)
        if not seconds:
            continue
        if job is not None and job["status"] == "unknown":
            return None
        if job is None or job["created_at"] is None:
            remaining += provisioning + seconds
        elif job["started_at"] is None:
            remaining += max(0.0, provisioning - (now.timestamp() - job["created_at"])) + seconds
        elif job["ended_at"] is None:
            runs_for = now.timestamp() - job["started_at"]
            if name == "transform" and objects is not None and 0 < objects.done < objects.total:
                remaining += runs_for / objects.done * (objects.total - objects.done)
            elif runs_for > seconds:
                return None
            else:
                remaining += seconds - runs_for
    return remaining


def _add_seconds(moment: datetime | None, seconds: float | None) -> datetime | None:
    if moment is None or seconds is None:
        return None
    return datetime.fromtimestamp(moment.timestamp() + seconds, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A figure of a run as text: as estimated, at most with the plan's confidence, and as it was.

    `is_above`: whether it was more than the plan had as the most.
    """

    name: str
    expected: str
    highest: str
    actual: str
    is_above: bool


def compare_with_estimate(run: Run, report: Mapping[str, Any] | None) -> list[ComparisonRow]:
    """The run's time and cost beside their estimates; empty before its end, and where nothing was estimated."""
    if report is None or not run.has_ended or "total" not in report or not report["estimate"].get("seconds"):
        return []
    if report["total"]["dollars"] == 0 and not report["stages"]:
        return []  # No job was started.
    estimate, dollars = report["estimate"], report["total"]["dollars"]
    rows = [
        ("Time", format_duration, estimate["seconds"], estimate["seconds_high"], run.duration_seconds),
        ("Cost", format_dollars, estimate["dollars"], estimate["dollars_high"], dollars),
    ]
    return [
        ComparisonRow(
            name=name,
            expected=_format_known(form, expected),
            highest=_format_known(form, highest),
            actual=_format_known(form, actual),
            is_above=actual is not None and highest is not None and actual > highest,
        )
        for name, form, expected, highest, actual in rows
    ]


def _format_known(form: Callable[[float], str], value: float | None) -> str:
    return "unknown" if value is None else form(value)
