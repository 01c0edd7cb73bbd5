"""The figures of one run: its report where it can be read, else what its tasks have handed on so far.

A report is one object in S3, read when somebody opens the run, and kept for the last few runs that were opened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from batch_runs.airflow_state import Run, handed_on
from batch_runs.jobs import UNREADABLE, jobs_so_far
from include.orchestration import names
from include.orchestration.pipelines import named
from include.orchestration.storage import Storage, is_gone
from include.scoring.naming import runs_prefix
from include.scoring.so_far import figures_so_far
from include.scoring.summary import summary_in

log = logging.getLogger(__name__)

RESULT = "return_value"
FACTS = (names.SHARDS, "facts")
WANTED = [(names.PLAN, RESULT), FACTS, (names.PUBLISH, RESULT), (names.REPORT, RESULT)]
REPORTS_KEPT = 16
#: A report has a few rows and some hundred figures for each column, and report.html plotly.js beside them; anything
#: larger is none.
MOST_REPORT_BYTES, MOST_HTML_BYTES = 2_000_000, 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run's page shows: the figures if there are any yet, whether they are final, and what could not be read."""

    report: Mapping[str, Any] | None
    final: bool
    problems: tuple[str, ...] = field(default=())


def figures_of(session: Session, run: Run) -> Figures:
    """The figures of a run, however far it got."""
    found = handed_on(session, run, WANTED)
    told = found.get((names.REPORT, RESULT))
    if isinstance(told, Mapping) and "report_json" in told:
        try:
            return Figures(report=_report(run.dag_id, str(told["report_json"])), final=True)
        except UNREADABLE as error:
            log.warning("the report of %s %s cannot be read: %s", run.dag_id, run.run_id, error)
            problem = f"The report at {told['report_json']} cannot be read: {error}"
            if is_gone(error):
                problem = (
                    f"There is no report at {told['report_json']} any more, as after keep_runs_days; this is what the "
                    f"run's tasks handed on."
                )
            return Figures(report=_so_far(session, found, run, []), final=False, problems=(problem,))
    problems: list[str] = []
    return Figures(report=_so_far(session, found, run, problems), final=False, problems=tuple(problems))


def report_file(run: Run, session: Session) -> tuple[bytes, str] | None:
    """report.html as it lies in S3, and its URI; None when the run has none."""
    told = handed_on(session, run, [(names.REPORT, RESULT)]).get((names.REPORT, RESULT))
    if not isinstance(told, Mapping) or "report_html" not in told:
        return None
    uri = own_file(run.dag_id, str(told["report_html"]))
    storage = storage_of(run.dag_id)
    _check_size(storage.head(uri), MOST_HTML_BYTES)
    return storage.read(uri), uri


def own_file(dag_id: str, uri: str) -> str:
    """`uri`, if it lies among the files of the pipeline's runs.

    Whoever may write XComs of this DAG could name any other object, which is then read with the pipeline's connection.

    Raises:
        ValueError: it lies elsewhere.
    """
    pipeline = named(dag_id)
    runs = runs_prefix(work=pipeline.work, pipeline=pipeline.name)
    if not uri.startswith(runs):
        raise ValueError(f"it is said to be at {uri}, and the files of runs of {dag_id} are below {runs}")
    return uri


def _report(dag_id: str, uri: str) -> Mapping[str, Any]:
    head = storage_of(dag_id).head(own_file(dag_id, uri))
    _check_size(head, MOST_REPORT_BYTES)
    return _parsed(dag_id, uri, str(head["etag"]))


def _check_size(head: Mapping[str, Any], most: int) -> None:
    if head["size"] > most:
        raise ValueError(f"it has {head['size']:,} bytes, and at most {most:,} are expected")


@lru_cache(maxsize=REPORTS_KEPT)
def _parsed(dag_id: str, uri: str, etag: str) -> Mapping[str, Any]:  # noqa: ARG001 - another content is read anew
    report = storage_of(dag_id).read_json(uri)
    if not isinstance(report, dict) or report.get("version") != 1:
        raise ValueError("it is no report of version 1")
    return report


def storage_of(dag_id: str) -> Storage:
    """S3 as the pipeline's tasks reach it. Raises what is in UNREADABLE."""
    pipeline = named(dag_id)
    return Storage(pipeline.aws_conn_id, pipeline.region)


def _so_far(
    session: Session, found: Mapping[tuple[str, str], Any], run: Run, problems: list[str]
) -> Mapping[str, Any] | None:
    # What is no mapping was put elsewhere by an XCom backend.
    at_hand = {pair: value for pair, value in found.items() if isinstance(value, Mapping)}
    plan = at_hand.get((names.PLAN, RESULT))
    if plan is None:
        return None
    return figures_so_far(
        plan=plan,
        jobs=jobs_so_far(session, run, problems),
        facts=at_hand.get(FACTS),
        published=at_hand.get((names.PUBLISH, RESULT)),
        told=summary_in(at_hand.get((names.REPORT, RESULT))),
        as_of=time.time(),
    )
