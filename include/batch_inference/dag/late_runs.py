"""Notifies of late runs, each once: by the janitor while the run goes on, else by `clean_up` at a late end.

Who notifies is decided by late.json below the run's prefix, which is created, and changed, on the condition that nobody
else has. So a scheduler that is killed and started again, a retry, and two processes at a time notify once. A notifier
that fails is called again by the next process that looks, up to `MAX_ATTEMPTS` times. A process that was killed between
a notifier and the note of it is taken for lost after `CLAIM_SECONDS`, and what it has not noted is called again: a
notice that is repeated is better than one that is lost.

Before a process claims the notice of a run it writes the run's entry below `_late/`. The janitor goes through these
entries, whether their runs go on or have ended, and deletes those of which everybody was notified.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

from airflow.sdk import DAG

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths, build_late_prefix, slugify_run_id
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.dag.callbacks import build_notifiers
from batch_inference.dag.janitor import for_each_pipeline
from batch_inference.planning.plan import Plan
from batch_inference.publishing.claims import FINISHED_STATES
from batch_inference.publishing.output_cleanup import build_is_run_active
from batch_inference.run.lateness import PlannedRun, describe_late_end, describe_lateness, find_due_time
from batch_inference.run.task_ids import CLEAN_UP, PLAN

log = logging.getLogger(__name__)

#: After this time a process that has claimed a notice, and has not noted its end, is lost.
CLAIM_SECONDS = 600.0
MAX_ATTEMPTS = 5
#: After this time the janitor no longer tries to finish a notice.
GIVE_UP_AFTER = timedelta(days=1)


class LateNotice(FrozenModel):
    """late.json: the notice of a late run.

    Attributes:
        waiting: positions in `notify.on_late` of the notifiers that are still to be called.
        attempts: how often a process has claimed the notice.
        claimed_at: epoch seconds at which the last process has claimed it; None once that has noted its end.
        claimed_by: a token of that process, which makes the document of each differ.
    """

    version: Literal[1] = 1
    run_id: str
    sentence: str
    waiting: tuple[int, ...]
    attempts: int
    claimed_at: float | None
    claimed_by: str

    @property
    def is_finished(self) -> bool:
        """Whether no notifier is to be called any more."""
        return not self.waiting or (self.claimed_at is None and self.attempts >= MAX_ATTEMPTS)


class LateEntry(FrozenModel):
    """`_late/<run>.json`: a run of which somebody may still have to be notified."""

    version: Literal[1] = 1
    run_id: str
    sentence: str


def notify_of_late_runs(**context: Any) -> list[str]:
    """The janitor's task: notify of the late runs of all pipelines; returns their ids.

    Raises:
        Exception: see `for_each_pipeline`.
    """
    return for_each_pipeline(lambda pipeline: notify_of_pipeline(pipeline, context))


def notify_of_pipeline(pipeline: Pipeline, context: Mapping[str, Any]) -> list[str]:
    """Notify of each run of the pipeline that goes on and is late, or will be, and finish earlier notices.

    Returns the ids of the runs of which somebody was notified. `context` is that of the task that looks; its task
    instance asks Airflow for the runs.

    Raises:
        Exception: the first error, after all runs were tried: HandoffError or ValidationError for a file of a run, or
            an error of S3.
    """
    if not pipeline.notify.on_late:
        return []
    storage = Storage(pipeline.aws_conn_id, pipeline.region)
    notified: list[str] = []
    problems: list[Exception] = []

    def attempt(what: str, notify: Callable[[], str | None]) -> None:
        try:
            if (run_id := notify()) is not None:
                notified.append(run_id)
        except Exception as error:
            log.exception("%s: nobody could be notified that it is late", what)
            problems.append(error)

    # Before the entries of this look are written.
    prefix = build_late_prefix(work=pipeline.work, pipeline=pipeline.name)
    entries = dict(storage.list_write_times(prefix))
    for uri, written_at in entries.items():
        attempt(uri, partial(finish_notice, storage, pipeline, uri, written_at, context))
    for run_id, states in find_active_runs(context["ti"], pipeline.name).items():
        if build_entry_uri(pipeline, run_id) not in entries:
            attempt(run_id, partial(notify_of_run, storage, pipeline, run_id, states, context))
    if problems:
        raise problems[0]
    return notified


def notify_of_run(
    storage: Storage,
    pipeline: Pipeline,
    run_id: str,
    states: Mapping[str, str | None],
    context: Mapping[str, Any],
) -> str | None:
    """Notify of a run that goes on, if it is late or will be; its id if a notifier was called."""
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
    now = datetime.now(UTC)
    planned = read_planned_run(storage, paths) if states.get(PLAN) == "success" else None
    due = find_due_time(pipeline, planned, run_id, now)
    if due is None:
        return None
    sentence = describe_lateness(pipeline.name, run_id, due=due, planned=planned, states=states, now=now)
    if sentence is None:
        return None
    run_context = build_run_context(context, pipeline, run_id)
    return run_id if notify_once(storage, paths, pipeline, run_id, sentence, run_context) else None


def finish_notice(
    storage: Storage, pipeline: Pipeline, uri: str, written_at: datetime, context: Mapping[str, Any]
) -> str | None:
    """Call the notifiers that are still to be called for the run of an entry; its id if there were any.

    The entry is deleted when everybody was notified, and, whatever is the matter, after a day.
    """
    is_finished = False
    try:
        entry = LateEntry.model_validate(storage.read_json(uri))
        run_id = entry.run_id
        paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
        run_context = build_run_context(context, pipeline, run_id)
        is_notified = notify_once(storage, paths, pipeline, run_id, entry.sentence, run_context)
        stored = storage.read_json_with_etag(paths.late)
        is_finished = stored is not None and LateNotice.model_validate(stored[0]).is_finished
        return run_id if is_notified else None
    finally:
        if not is_finished and datetime.now(UTC) - written_at > GIVE_UP_AFTER:
            log.warning("%s is given up after a day", uri)
            is_finished = True
        if is_finished:
            storage.delete([uri])


def build_entry_uri(pipeline: Pipeline, run_id: str) -> str:
    """Where the entry of a late run is."""
    prefix = build_late_prefix(work=pipeline.work, pipeline=pipeline.name)
    return f"{prefix}{slugify_run_id(run_id)}.json"


def notify_of_late_end(pipeline_id: str, plan: Plan | None, context: Mapping[str, Any]) -> None:
    """Notify of the run of the context, which is about to end, if it ends late and nobody was notified of it.

    `plan` is None for a run without one. An error is logged, since it is no reason for the run to fail.
    """
    try:
        pipeline = load_pipeline_by_id(pipeline_id)
        if not pipeline.notify.on_late:
            return
        run_id, now = str(context["dag_run"].run_id), datetime.now(UTC)
        # A run that releases a held run has the plan of that run.
        planned = None if plan is None or plan.run_id != run_id else PlannedRun(plan, now)
        due = find_due_time(pipeline, planned, run_id, now)
        sentence = None if due is None else describe_late_end(pipeline.name, run_id, due=due, ended_at=now)
        if sentence is not None:
            storage = Storage(pipeline.aws_conn_id, pipeline.region)
            paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
            notify_once(storage, paths, pipeline, run_id, sentence, context)
    except Exception:
        log.exception("nobody could be notified of a late end of this run")


def find_active_runs(ti: Any, dag_id: str) -> dict[str, dict[str, str | None]]:
    """The states of the tasks of each run of a DAG that is queued or running, by run id.

    One call to Airflow for a DAG without such a run.
    """
    if not ti.get_dr_count(dag_id=dag_id, states=["queued", "running"]):
        return {}
    is_active = build_is_run_active(ti)
    ends: Mapping[str, Mapping[str, str | None]] = ti.get_task_states(dag_id=dag_id, task_ids=[CLEAN_UP])
    active = [
        run_id
        for run_id, states in ends.items()
        if states.get(CLEAN_UP) not in FINISHED_STATES and is_active(dag_id, run_id)
    ]
    if not active:
        return {}
    found: dict[str, dict[str, str | None]] = ti.get_task_states(dag_id=dag_id, run_ids=active)
    return found


def read_planned_run(storage: Storage, paths: RunPaths) -> PlannedRun | None:
    """The plan of a run and when it was written; None where there is none, as in a run that releases a held one.

    Raises:
        HandoffError: another version of this package wrote it.
    """
    stored = storage.read_snapshot(paths.plan)
    if stored is None:
        return None
    return PlannedRun(Plan.from_document(json.loads(stored.content), paths.plan), stored.last_modified)


@dataclass(frozen=True, slots=True)
class _OtherRun:
    """A task instance under the name of another run: for templates such as `{{ ti.dag_id }}`."""

    task_instance: Any
    dag_id: str
    run_id: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task_instance, name)


def build_run_context(context: Mapping[str, Any], pipeline: Pipeline, run_id: str) -> dict[str, Any]:
    """The context of the task that looks, with the DAG and the run of another, for the templates of notifiers."""
    ti = _OtherRun(context["ti"], pipeline.name, run_id)
    return {
        **context,
        "dag": DAG(dag_id=pipeline.name, schedule=None),
        "dag_run": SimpleNamespace(dag_id=pipeline.name, run_id=run_id),
        "run_id": run_id,
        "ti": ti,
        "task_instance": ti,
    }


def notify_once(
    storage: Storage,
    paths: RunPaths,
    pipeline: Pipeline,
    run_id: str,
    sentence: str,
    context: Mapping[str, Any],
    *,
    clock: Callable[[], float] = time.time,
) -> bool:
    """Call the notifiers of `on_late` that no other process has called for this run; whether there were any.

    An error of a notifier is logged, and the others are called.
    """
    stored = storage.read_json_with_etag(paths.late)
    notice = None if stored is None else LateNotice.model_validate(stored[0])
    if notice is None:
        waiting, attempts = tuple(range(len(pipeline.notify.on_late))), 0
    else:
        is_claimed = notice.claimed_at is not None and clock() - notice.claimed_at < CLAIM_SECONDS
        if is_claimed or not notice.waiting or notice.attempts >= MAX_ATTEMPTS:
            return False
        waiting, attempts, sentence = notice.waiting, notice.attempts, notice.sentence
    # First of all: a process that is killed from here on leaves the notice to the janitor.
    entry = LateEntry(run_id=run_id, sentence=sentence)
    storage.write_json(build_entry_uri(pipeline, run_id), entry.model_dump(mode="json"))
    claim = LateNotice(
        run_id=run_id,
        sentence=sentence,
        waiting=waiting,
        attempts=attempts + 1,
        claimed_at=clock(),
        claimed_by=secrets.token_hex(8),
    )
    expected_etag = None if stored is None else stored[1]
    etag = storage.write_json_conditionally(
        paths.late, claim.model_dump(mode="json"), expected_etag=expected_etag
    )
    if etag is None:
        log.info("another process notifies of %s", run_id)
        return False
    log.warning("%s", sentence)
    failed = []
    for at in waiting:
        try:
            # The file may have been changed since the notice was written.
            for notifier in build_notifiers(pipeline, pipeline.notify.on_late[at : at + 1], "on_late"):
                notifier({**context, "late": sentence})
        except Exception:
            attempt = f"attempt {claim.attempts} of {MAX_ATTEMPTS}"
            log.exception("notify.on_late[%d] failed for %s (%s)", at, run_id, attempt)
            failed.append(at)
    noted = claim.model_copy(update={"waiting": tuple(failed), "claimed_at": None})
    if (
        storage.write_json_conditionally(paths.late, noted.model_dump(mode="json"), expected_etag=etag)
        is None
    ):
        log.warning("%s was changed by another process, which took this one for lost", paths.late)
    return True
