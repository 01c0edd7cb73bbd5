"""Whether a run is late, or will be: decided from its deadline, its plan and the states of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batch_inference.common.formatting import format_duration, join_words
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.schedule import MAX_OVERDUE, resolve_deadline
from batch_inference.planning.plan import Plan
from batch_inference.run.task_ids import JOIN, JOIN_JOB, PREPROCESS, TASK_ORDER, TRANSFORM, get_task_position

#: States of a task that has not begun.
_NOT_BEGUN = {None, "scheduled", "queued"}
#: States of a task that is being worked on, or waits for AWS, for a person or for its next try.
_AT_WORK = {"running", "deferred", "restarting", "up_for_retry", "up_for_reschedule", "awaiting_input"}
#: The tasks whose begin is that of a stage of the estimate.
_STAGE_TASKS = {"preprocess": (PREPROCESS,), "transform": (TRANSFORM,), "join": (JOIN, JOIN_JOB)}
#: Types of run that begin at their time without a person: `scheduled__<run_after>`, `asset_triggered__<run_after>_…`.
_AUTOMATIC_TYPES = ("scheduled", "asset_triggered")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """The plan of a run, and when it was made."""

    plan: Plan
    planned_at: datetime


def read_run_after(run_id: str) -> datetime | None:
    """The time at which a run was due to start, from its id as Airflow generates it; None for all other runs.

    A task learns no more of the runs of another DAG from Airflow before 3.2. Nothing says when a run by hand or of a
    backfill should have begun: its `run_after` is that of its logical date, which may be years ago.
    """
    run_type, _, rest = run_id.partition("__")
    if run_type not in _AUTOMATIC_TYPES:
        return None
    try:
        time = datetime.fromisoformat(rest.partition("_")[0])
    except ValueError:
        return None
    return time if time.tzinfo else None


def find_due_time(
    pipeline: Pipeline, planned: PlannedRun | None, run_id: str, now: datetime
) -> datetime | None:
    """When a run is late: by its plan, or before it has one by the pipeline's deadline and its `run_after`.

    None without a deadline, and for a run that publishes nothing. For a run without a plan also where nothing says when
    it should have begun, or where that is too long ago: an old run that is cleared has no plan until it is planned
    again.
    """
    if planned is not None:
        return planned.plan.due_time
    run_after, deadline = read_run_after(run_id), pipeline.goals.deadline
    if run_after is None or deadline is None:
        return None
    due = resolve_deadline(deadline, run_after)
    return due if now - due <= MAX_OVERDUE else None


def estimate_end(planned: PlannedRun, states: Mapping[str, str | None], now: datetime) -> datetime:
    """When a run that goes on ends at the earliest: by its plan, and by what its stages that have not begun take."""
    estimate = planned.plan.estimate
    remaining = 0.0
    for stage, tasks in _STAGE_TASKS.items():
        begun = (TASK_ORDER[at] in tasks and state not in _NOT_BEGUN for at, state in _list_positions(states))
        if not any(begun):
            stage_estimate = getattr(estimate, stage)
            remaining += stage_estimate.provisioning_seconds + stage_estimate.seconds
    return max(planned.planned_at + timedelta(seconds=estimate.seconds), now + timedelta(seconds=remaining))


def describe_lateness(
    pipeline: str,
    run_id: str,
    *,
    due: datetime,
    planned: PlannedRun | None,
    states: Mapping[str, str | None],
    now: datetime,
) -> str | None:
    """A sentence about a run that goes on and is late, or will be; None for a run that is in time, as far as is known.

    It says the deadline, where the run is, and when it should end. `states` are those of the run's task instances.
    """
    end = None if planned is None else estimate_end(planned, states, now)
    if now < due and (end is None or end <= due):
        return None
    run = f"{pipeline}, run {run_id}"
    where = _describe_place(states)
    head = (
        f"{run}, is late: its deadline was {_format_time(due)}"
        if now >= due
        else f"{run}, will be late: its deadline is {_format_time(due)}"
    )
    if end is None:
        return f"{head}. {where}."
    if end <= now:
        return f"{head}. {where}, and should have ended by {_format_time(end)}."
    return f"{head}. {where}, and should end at {_format_time(end)} at the earliest."


def describe_late_end(pipeline: str, run_id: str, *, due: datetime, ended_at: datetime) -> str | None:
    """A sentence about a run that has ended after its deadline; None for one that ended in time."""
    if ended_at <= due:
        return None
    overdue = format_duration((ended_at - due).total_seconds())
    return (
        f"{pipeline}, run {run_id}, ended at {_format_time(ended_at)}, {overdue} after its deadline "
        f"({_format_time(due)})."
    )


def _list_positions(states: Mapping[str, str | None]) -> list[tuple[int, str | None]]:
    """The position in TASK_ORDER and the state of each task instance of ours, in execution order."""
    positions = sorted((get_task_position(task)[0], task) for task in states)
    return [(at, states[task]) for at, task in positions if at < len(TASK_ORDER)]


def _describe_place(states: Mapping[str, str | None]) -> str:
    """Where a run is, as the begin of a sentence."""
    positions = _list_positions(states)
    at_work = dict.fromkeys(TASK_ORDER[at] for at, state in positions if state in _AT_WORK)
    if at_work:
        return f"It is at {join_words([f'`{task}`' for task in at_work])}"
    if all(state in _NOT_BEGUN for _, state in positions):
        return "It has not begun"
    waiting = next((TASK_ORDER[at] for at, state in positions if state in _NOT_BEGUN), None)
    return "Its tasks have ended" if waiting is None else f"It waits to begin `{waiting}`"


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
