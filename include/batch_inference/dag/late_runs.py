"""Notifies of late runs, each once: by the janitor while the run goes on, else by `clean_up` at a late end.

Who notifies is decided by late.json below the run's prefix, which is created, and changed, on the condition that nobody
else has. So a scheduler that is killed and started again, a retry, and two processes at a time notify once. A notifier
that fails is called again by the next process that looks, up to `MAX_ATTEMPTS` times. A process that was killed between
a notifier and the note of it is taken for lost after `CLAIM_SECONDS`, and what it has not noted is called again: a
notice that is repeated is better than one that is lost.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

from airflow.sdk import DAG

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths
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


def notify_of_late_runs(**context: Any) -> list[str]:
    """The janitor's task: notify of the late runs of all pipelines; returns their ids.

    Raises:
        Exception: see `for_each_pipeline`.
    """
    return for_each_pipeline(lambda pipeline: notify_of_pipeline(pipeline, context))


def notify_of_pipeline(pipeline: Pipeline, context: Mapping[str, Any]) -> list[str]:
    """Notify of each run of the pipeline that goes on and is late, or will be; the ids of these runs.

    `context` is that of the task that looks; its task instance asks Airflow for the runs.
    """
    if not pipeline.notify.on_late:
        return []
    ti, storage = context["ti"], None
    notified: list[str] = []
    for run_id, states in find_active_runs(ti, pipeline.name).items():
        storage = storage or Storage(pipeline.aws_conn_id, pipeline.region)
        paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
        now = datetime.now(UTC)
        planned = read_planned_run(storage, paths) if states.get(PLAN) == "success" else None
        due = find_due_time(pipeline, planned, run_id, now)
        if due is None:
            continue
        sentence = describe_lateness(pipeline.name, run_id, due=due, planned=planned, states=states, now=now)
        if sentence is not None and notify_once(
            storage, paths, pipeline, run_id, sentence, build_run_context(context, pipeline, run_id)
        ):
            notified.append(run_id)
    return notified


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
