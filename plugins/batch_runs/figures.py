"""Loads the figures of one run: from its report if that can be read, else from its tasks' XComs.

A report is one object in S3, read when a user opens the run, and cached for the last `REPORT_CACHE_SIZE` runs. S3 and
SageMaker are read in threads, so that a page need not wait for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from batch_inference.aws.s3 import is_not_found
from batch_inference.pricing.costs import read_planned_prices
from batch_inference.reporting.live import build_live_report
from batch_inference.reporting.summary import parse_summary
from batch_inference.run import task_ids
from batch_inference.run.handoffs import SHARD_STATS
from batch_inference.run.outcomes import OUTCOME_KEY, RunOutcome, parse_outcome
from batch_runs.airflow_state import PipelinePlace, Run, read_pipeline_place, read_xcoms
from batch_runs.jobs import (
    READ_ERRORS,
    ObjectCount,
    StoredJobs,
    count_objects_of_transforms,
    describe_jobs,
    read_stored_jobs,
)
from batch_runs.links import StoredLink, leads_to_amazon, read_console_links
from batch_runs.pipeline_storage import open_storage, require_run_file
from batch_runs.run_files import (
    DOCUMENTS,
    REJECTS_FILE,
    Download,
    load_reject_details,
    open_document,
    open_rejects,
)

log = logging.getLogger(__name__)

RETURN_VALUE = "return_value"
WANTED_XCOMS = [
    (task_ids.PLAN, RETURN_VALUE),
    SHARD_STATS,
    (task_ids.PUBLISH, RETURN_VALUE),
    (task_ids.CLEAN_UP, RETURN_VALUE),
    (task_ids.CLEAN_UP, OUTCOME_KEY),
]
#: The longest that a request waits for S3 and SageMaker, whose calls have short timeouts of their own.
MAX_PATIENCE_SECONDS = 60.0
REPORT_CACHE_SIZE = 16
#: A report has a few rows and some hundred figures for each column; a larger object is not a report.
MAX_REPORT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run's page shows.

    Attributes:
        plan: the plan as JSON; None before there is one.
        outcome: how the run ended; None before that, and for runs of an older version of this package.
        report: the run's report, or as much of it as is known.
        is_final: whether `report` is the one that the run wrote.
        is_complete: False while S3 or SageMaker have not answered yet.
        objects: how many of the objects of a running transform are done; None where that is not known.
        links: to jobs and logs in the AWS console; empty where the jobs are not in it.
        problems: what could not be read, in sentences.
    """

    plan: Mapping[str, Any] | None
    outcome: RunOutcome | None
    report: Mapping[str, Any] | None
    is_final: bool = False
    is_complete: bool = True
    objects: ObjectCount | None = None
    links: Sequence[StoredLink] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_plan_only(self) -> bool:
        """Whether the run was only to be planned."""
        return self.plan is not None and bool(self.plan["dry_run"])

    @property
    def unlisted_seconds(self) -> float:
        """Billed instance-seconds of jobs that no stage of the report has.

        Those are earlier attempts, jobs of an earlier plan, and jobs that looked for records that the model refuses.
        """
        billed = None if self.outcome is None else self.outcome.billed_seconds
        if self.is_final or not self.is_complete or self.report is None or billed is None:
            return 0.0
        listed = [stage["billed_seconds"] for stage in self.report["stages"]]
        if not listed or None in listed:
            return 0.0
        more: float = billed - sum(listed)
        return more if more >= 1.0 else 0.0

    @property
    def outcome_figures(self) -> Mapping[str, Any] | None:
        """The records and totals of the outcome, in the form of a report; None without an outcome."""
        totals = None if self.outcome is None else _list_totals(self.outcome)
        return None if totals is None else {"records": totals.get("records"), "total": totals}


def _list_totals(outcome: RunOutcome) -> Mapping[str, Any] | None:
    """The totals of a run, with its records where all are known; None for one whose jobs were billed nothing."""
    if not outcome.billed_seconds:
        return None
    totals = outcome.to_xcom()
    if totals["records"] is not None and None in totals["records"].values():
        del totals["records"]
    return totals


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredRun:
    """What Airflow's database has of a run; `place` is None where the pipeline's DAG does not say it."""

    xcoms: Mapping[tuple[str, str], Any]
    place: PipelinePlace | None
    place_problem: str | None
    jobs: Sequence[StoredJobs]
    links: Sequence[StoredLink]

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """The plan as JSON. A value that is not a mapping is a reference of a custom XCom backend."""
        return self.read_mapping(task_ids.PLAN, RETURN_VALUE)

    @property
    def outcome(self) -> RunOutcome | None:
        """How the run ended."""
        return parse_outcome(self.xcoms.get((task_ids.CLEAN_UP, OUTCOME_KEY)))

    @property
    def report_uri(self) -> str | None:
        """The URI of report.json; None for a run that wrote none."""
        value = (self.read_mapping(task_ids.CLEAN_UP, RETURN_VALUE) or {}).get("report_json")
        return None if value is None else str(value)

    @property
    def run_totals(self) -> Mapping[str, Any] | None:
        """The totals of a run that has ended: of its outcome, else of the summary that older versions pushed."""
        if self.outcome is None:
            return parse_summary(self.xcoms.get((task_ids.CLEAN_UP, RETURN_VALUE)))
        return _list_totals(self.outcome)

    def read_mapping(self, task_id: str, key: str) -> Mapping[str, Any] | None:
        """An XCom that is a mapping; None for another value, or none."""
        value = self.xcoms.get((task_id, key))
        return value if isinstance(value, Mapping) else None


def load_figures(session: Session, run: Run, *, patience_seconds: float = MAX_PATIENCE_SECONDS) -> Figures:
    """The figures of a run in any state.

    Where S3 or SageMaker have not answered after `patience_seconds`, those that Airflow's database has; the others go
    on being read, and a later call finds them.
    """
    stored = _read_stored_run(session, run)
    key = (run.dag_id, run.run_id)
    fetch = _fetches.get(key)
    if fetch is None:
        fetch = _fetches[key] = _fetchers.submit(_fetch_figures, run, stored)
        fetch.add_done_callback(lambda _: _fetches.pop(key, None))
    try:
        return fetch.result(patience_seconds)
    except TimeoutError:
        return Figures(
            plan=stored.plan,
            outcome=stored.outcome,
            report=_build_live_figures(stored, describe_jobs(None, stored.jobs, [])),
            is_complete=False,
        )


#: What is being read from S3 and SageMaker at the moment, by DAG and run: whoever looks meanwhile waits for the same.
_fetches: dict[tuple[str, str], Future[Figures]] = {}
_fetchers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="batch_runs")


def _read_stored_run(session: Session, run: Run) -> _StoredRun:
    place, problem = None, None
    try:
        place = read_pipeline_place(session, run.dag_id)
    except ValueError as error:
        problem = f"The run's files and jobs cannot be looked at: {error}"
    return _StoredRun(
        xcoms=_read_xcoms(session, run, WANTED_XCOMS),
        place=place,
        place_problem=problem,
        jobs=read_stored_jobs(session, run),
        links=read_console_links(session, run),
    )


def _read_xcoms(
    session: Session, run: Run, task_keys: Iterable[tuple[str, str]]
) -> Mapping[tuple[str, str], Any]:
    """See `read_xcoms`; those of `clean_up` only once the run has ended.

    Of a cleared run that goes on, Airflow keeps what `clean_up` said of the attempt before until it starts again.
    """
    return read_xcoms(
        session,
        run,
        [(task, key) for task, key in task_keys if run.has_ended or task != task_ids.CLEAN_UP],
    )


def _fetch_figures(run: Run, stored: _StoredRun) -> Figures:
    """The figures with what is in S3 and at SageMaker."""
    place, problems = stored.place, [stored.place_problem] if stored.place_problem else []
    links = stored.links if stored.links and place is not None and leads_to_amazon(place) else ()
    known: Any = {"plan": stored.plan, "outcome": stored.outcome, "links": links}
    uri = stored.report_uri
    if uri is not None and place is not None:
        try:
            return Figures(**known, report=_load_report(place, uri), is_final=True)
        except READ_ERRORS as error:
            log.warning("cannot read the report of %s %s: %s", run.dag_id, run.run_id, error)
            problems = [_describe_report_error(uri, error)]
    # Of a run with a report that cannot be read, what its jobs are is not worth a second problem.
    jobs = describe_jobs(place, stored.jobs, problems if uri is None else [])
    objects = None
    if place is not None and not run.has_ended:
        objects = count_objects_of_transforms(place, jobs.get("transform", ()))
    live = _build_live_figures(stored, jobs, _load_reject_details(stored, jobs, problems))
    return Figures(**known, report=live, objects=objects, problems=tuple(problems))


def _describe_report_error(uri: str, error: Exception) -> str:
    if not is_not_found(error):
        return f"The report at {uri} cannot be read: {error}"
    return (
        f"There is no report at {uri} any more: run files are deleted after keep_runs_days. The figures shown are from "
        f"the run's tasks."
    )


def _load_reject_details(
    stored: _StoredRun, jobs: Mapping[str, Sequence[Mapping[str, Any]]], problems: list[str]
) -> Mapping[str, Any] | None:
    """The rejects of a run without its report, where they are counted; adds a sentence to `problems` on failure."""
    shard_stats = stored.read_mapping(*SHARD_STATS)
    if shard_stats is None or stored.place is None:
        return None
    try:
        return load_reject_details(stored.place, shard_stats, jobs.get("transform", ()))
    except READ_ERRORS as error:
        log.warning("cannot read the rejects that %s names: %s", stored.place.runs_prefix, error)
        if not is_not_found(error):
            problems.append(f"The examples of rejected records cannot be read: {error}")
        return None


def _build_live_figures(
    stored: _StoredRun,
    jobs: Mapping[str, Sequence[Mapping[str, Any]]],
    reject_details: Mapping[str, Any] | None = None,
) -> Mapping[str, Any] | None:
    """The figures without the report; None before there is a plan."""
    plan = stored.plan
    if plan is None:
        return None
    return build_live_report(
        plan=plan,
        jobs=jobs,
        shard_stats=stored.read_mapping(*SHARD_STATS),
        publish_result=stored.read_mapping(task_ids.PUBLISH, RETURN_VALUE),
        run_totals=stored.run_totals,
        reject_details=reject_details,
        prices=read_planned_prices(plan),
        as_of=time.time(),
    )


def open_run_file(session: Session, run: Run, name: str) -> Download | None:
    """A file of the run, one of `run_files.MEDIA_TYPES`; None if the run has none.

    Raises as `open_document`, and TimeoutError if S3 and SageMaker have not said in time which files there are.
    """
    place = read_pipeline_place(session, run.dag_id)
    if name == REJECTS_FILE:
        figures = load_figures(session, run)
        if not figures.is_complete:
            raise TimeoutError(f"S3 and SageMaker have not answered in {MAX_PATIENCE_SECONDS:.0f} s")
        details = (figures.report or {}).get("reject_details")
        return None if not details or not details["prefixes"] else open_rejects(place, details)
    task_id, key = DOCUMENTS[name]
    value = _read_xcoms(session, run, [(task_id, RETURN_VALUE)]).get((task_id, RETURN_VALUE))
    uri = value.get(key) if isinstance(value, Mapping) else None
    return None if uri is None else open_document(place, str(uri))


def _load_report(place: PipelinePlace, uri: str) -> Mapping[str, Any]:
    head = open_storage(place).head(require_run_file(place, uri))
    _check_size(head, MAX_REPORT_BYTES)
    return _read_report(place, uri, str(head["etag"]))


def _check_size(head: Mapping[str, Any], max_bytes: int) -> None:
    if head["size"] > max_bytes:
        raise ValueError(f"it has {head['size']:,} bytes; allowed are at most {max_bytes:,}")


@lru_cache(maxsize=REPORT_CACHE_SIZE)
def _read_report(place: PipelinePlace, uri: str, etag: str) -> Mapping[str, Any]:  # noqa: ARG001 - another content is read anew
    report = open_storage(place).read_json(uri)
    if not isinstance(report, dict) or report.get("version") != 1:
        raise ValueError("it is not a report of version 1")
    return report
