"""Tells what a person needs first of a run or a task: why it failed, waits, or ended without output, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_inference.run.outcomes import RunOutcome
from batch_inference.run.task_ids import CLEAN_UP
from batch_runs.airflow_state import Run
from batch_runs.links import Link, StoredLink
from batch_runs.task_failures import UP_FOR_RETRY, FailedInstance

#: The error with which `clean_up` fails along with the run, which says nothing of its own.
RUN_FAILED_ERROR = "RunFailedError"
#: What is said of a failed task that left no message.
NO_MESSAGE = (
    "It left no message, as a task does whose process was killed or whose worker was lost. Its log says more."
)
#: Characters of a message of one paragraph that is shown as a headline.
MAX_PARAGRAPH = 700
MARKED_FAILED = "The run failed, but none of its tasks did: somebody marked it as failed, or its time was up."
#: Kinds of runs that ended as they were meant to, without output: their word, what is said without an outcome, and
#: what to do.
_QUIET_KINDS = {
    "plan_only": (
        "Plan only",
        "Nothing was submitted to AWS.",
        "To score the input, start a run without `Plan only`.",
    ),
    "empty": (
        "Empty input",
        "The input holds no records, so nothing was scored.",
        "If there should be some, compare the input's prefix below with the one in the pipeline file.",
    ),
    "unchanged": (
        "Unchanged",
        "Input, model and pipeline are those of an earlier run.",
        "Its output is still there. To score it again, start a run without `Skip unchanged input`.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A line at the top of a run's page: `level` is `info`, `warn` or `bad`, `word` what kind of notice it is.

    `run_id` is another run of the pipeline that it is about.
    """

    level: str
    word: str
    text: str
    advice: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a task failed, or waits for its next try.

    Attributes:
        level: `bad`, or `warn` for a task that is tried again or holds the run.
        message: all that the task said; None where the headline is all.
        links: to the job and its logs in the AWS console.
    """

    task_id: str
    map_index: int
    level: str
    title: str
    headline: str
    advice: str | None = None
    message: str | None = None
    log_lines: Sequence[str] = ()
    job_name: str | None = None
    log_group: str | None = None
    next_try_at: datetime | None = None
    links: Sequence[Link] = ()


def build_queued_notice(running_run_id: str | None) -> Notice:
    """Why a run is queued; `running_run_id` is the run of its pipeline that is running."""
    if running_run_id is None:
        return Notice(level="info", word="Queued", text="The scheduler has not started this run yet.")
    return Notice(
        level="info",
        word="Queued",
        text=f"This run waits for `{running_run_id}` to end: a pipeline has one run at a time.",
        advice="To start it sooner, mark the run that it waits for as failed; its jobs are then stopped.",
        run_id=running_run_id,
    )


def list_notices(
    run: Run, plan: Mapping[str, Any] | None, outcome: RunOutcome | None, failed: Sequence[FailedInstance]
) -> list[Notice]:
    """What is said of the run as a whole, before the reasons of its tasks."""
    notices = []
    kind = outcome.kind if outcome is not None else _find_planned_kind(plan)
    if kind in _QUIET_KINDS:
        word, text, advice = _QUIET_KINDS[kind]
        if outcome is not None:
            text, advice = outcome.headline, outcome.advice or advice
        notices.append(Notice(level="info", word=word, text=text, advice=advice))
    if run.state == "failed" and not failed:
        notices.append(
            Notice(level="bad", word="Failed", text=outcome.headline, advice=outcome.advice)
            if outcome is not None and outcome.is_unsuccessful
            else Notice(level="bad", word="Failed", text=MARKED_FAILED)
        )
    if outcome is not None:
        notices += [Notice(level="warn", word="Warning", text=text) for text in outcome.warnings]
    return notices


def _find_planned_kind(plan: Mapping[str, Any] | None) -> str | None:
    """The kind of a run that is meant to end without output, by its plan."""
    if plan is None:
        return None
    flags = (("dry_run", "plan_only"), ("empty", "empty"), ("unchanged_since", "unchanged"))
    return next((kind for key, kind in flags if plan.get(key)), None)


def list_reasons(
    failed: Sequence[FailedInstance], outcome: RunOutcome | None, links: Iterable[StoredLink]
) -> list[Reason]:
    """The reasons of a run's tasks, first the one that the run failed for.

    `clean_up` fails with each failed run; it is named only if it failed for a reason of its own.
    """
    by_task = list(links)
    named = [each for each in failed if each.task_id != CLEAN_UP or _has_own_reason(each)] or list(failed)
    return [build_reason(each, outcome, by_task) for each in named]


def _has_own_reason(instance: FailedInstance) -> bool:
    return instance.failure is not None and instance.failure.error != RUN_FAILED_ERROR


def find_cause(
    failed: Sequence[FailedInstance], outcome: RunOutcome | None, task_id: str, state: str | None
) -> Reason | None:
    """Why a task did not start, or `clean_up` failed, because another one had failed; None for any other task."""
    others = [each for each in failed if CLEAN_UP != each.task_id != task_id]
    own = next((each for each in failed if each.task_id == task_id), None)
    follows = own is not None and task_id == CLEAN_UP and not _has_own_reason(own)
    if not others or not (follows or state == "upstream_failed"):
        return None
    return build_reason(others[0], outcome, ())


def build_reason(instance: FailedInstance, outcome: RunOutcome | None, links: Iterable[StoredLink]) -> Reason:
    """Why one task instance failed; what `clean_up` knows of it counts where the instance itself said nothing."""
    failure = instance.failure
    is_cause = outcome is not None and outcome.failed_task == instance.name
    is_held = outcome is not None and outcome.kind == "held" and is_cause
    common: dict[str, Any] = {
        "task_id": instance.task_id,
        "map_index": instance.map_index,
        "level": "warn" if is_held or instance.state == UP_FOR_RETRY else "bad",
        "title": _build_title(instance, is_held=is_held),
        "next_try_at": instance.next_try_at,
        "links": _choose_links(instance, links),
    }
    if failure is None:
        if is_cause and outcome is not None:
            return Reason(**common, headline=outcome.headline, advice=outcome.advice)
        return Reason(**common, headline=NO_MESSAGE)
    # A list has no room for more than the headline; here one paragraph is shown whole, and once.
    paragraph = failure.paragraph
    is_whole = paragraph is not None and len(paragraph) <= MAX_PARAGRAPH
    return Reason(
        **common,
        headline=paragraph if paragraph is not None and is_whole else failure.headline,
        advice=failure.advice,
        message=None if is_whole else failure.message,
        log_lines=failure.log_lines,
        job_name=failure.job_name,
        log_group=failure.log_group,
    )


def _build_title(instance: FailedInstance, *, is_held: bool) -> str:
    name = instance.task_id if instance.map_index < 0 else f"{instance.task_id}[{instance.map_index}]"
    if is_held:
        return f"{name} holds the run"
    if instance.state == UP_FOR_RETRY:
        return f"{name} failed in try {instance.try_number} of {instance.try_count}"
    return f"{name} failed"


def _choose_links(instance: FailedInstance, links: Iterable[StoredLink]) -> list[Link]:
    """The links that the instance stored: those to its last job, and to its logs."""
    key = (instance.task_id, instance.map_index)
    return [each.link for each in links if (each.task_id, each.map_index) == key]
