"""Loads the figures of one run: from its report if that can be read, else from its tasks' XComs.

A report is one object in S3, read when a user opens the run, and cached for the last `REPORT_CACHE_SIZE` runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.reporting.live import build_live_report
from batch_inference.reporting.summary import parse_summary
from batch_inference.run import task_ids
from batch_inference.run.handoffs import SHARD_STATS
from batch_runs.airflow_state import PipelinePlace, Run, read_pipeline_place, read_xcoms
from batch_runs.jobs import READ_ERRORS, load_jobs

log = logging.getLogger(__name__)

RETURN_VALUE = "return_value"
WANTED_XCOMS = [
    (task_ids.PLAN, RETURN_VALUE),
    SHARD_STATS,
    (task_ids.PUBLISH, RETURN_VALUE),
    (task_ids.CLEAN_UP, RETURN_VALUE),
]
REPORT_CACHE_SIZE = 16
#: A report has a few rows and some hundred figures for each column; a larger object is not a report. The limit of
#: report.html lets reports of earlier versions, which had plotly.js, be downloaded.
MAX_REPORT_BYTES, MAX_HTML_BYTES = 2_000_000, 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run's page shows: the figures so far, whether they are from the report, and what could not be read."""

    report: Mapping[str, Any] | None
    is_final: bool
    problems: tuple[str, ...] = field(default=())


def load_figures(session: Session, run: Run) -> Figures:
    """The figures of a run in any state."""
    found = read_xcoms(session, run, WANTED_XCOMS)
    report_result = found.get((task_ids.CLEAN_UP, RETURN_VALUE))
    if not isinstance(report_result, Mapping) or "report_json" not in report_result:
        problems: list[str] = []
        figures = _build_live_figures(session, found, run, problems)
        return Figures(report=figures, is_final=False, problems=tuple(problems))
    uri = str(report_result["report_json"])
    try:
        return Figures(report=_load_report(read_pipeline_place(session, run.dag_id), uri), is_final=True)
    except READ_ERRORS as error:
        log.warning("cannot read the report of %s %s: %s", run.dag_id, run.run_id, error)
        problem = f"The report at {uri} cannot be read: {error}"
        if is_not_found(error):
            problem = (
                f"There is no report at {uri} any more: run files are deleted after keep_runs_days. The figures "
                f"shown are from the run's tasks."
            )
    figures = _build_live_figures(session, found, run, [])
    return Figures(report=figures, is_final=False, problems=(problem,))


def read_report_html(run: Run, session: Session) -> bytes | None:
    """The content of report.html in S3; None if the run has none."""
    wanted = (task_ids.CLEAN_UP, RETURN_VALUE)
    report_result = read_xcoms(session, run, [wanted]).get(wanted)
    if not isinstance(report_result, Mapping) or "report_html" not in report_result:
        return None
    place = read_pipeline_place(session, run.dag_id)
    uri = require_run_file(place, str(report_result["report_html"]))
    storage = open_storage(place)
    _check_size(storage.head(uri), MAX_HTML_BYTES)
    return storage.read(uri)


def require_run_file(place: PipelinePlace, uri: str) -> str:
    """`uri`, if it is below the run files of the pipeline.

    Otherwise a user who may write XComs of this DAG could have any object read with the pipeline's connection.

    Raises:
        ValueError: it is elsewhere.
    """
    if not uri.startswith(place.runs_prefix):
        raise ValueError(
            f"its XCom names {uri}, but the run files of the pipeline are below {place.runs_prefix}"
        )
    return uri


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


def open_storage(place: PipelinePlace) -> Storage:
    """S3 through the pipeline's connection and region. Raises the errors in `READ_ERRORS`."""
    return Storage(place.aws_conn_id, place.region)


def _build_live_figures(
    session: Session, found: Mapping[tuple[str, str], Any], run: Run, problems: list[str]
) -> Mapping[str, Any] | None:
    # A value that is not a mapping is a reference of a custom XCom backend.
    readable = {pair: value for pair, value in found.items() if isinstance(value, Mapping)}
    plan = readable.get((task_ids.PLAN, RETURN_VALUE))
    if plan is None:
        return None
    return build_live_report(
        plan=plan,
        jobs=load_jobs(session, run, problems),
        shard_stats=readable.get(SHARD_STATS),
        publish_result=readable.get((task_ids.PUBLISH, RETURN_VALUE)),
        report_summary=parse_summary(readable.get((task_ids.CLEAN_UP, RETURN_VALUE))),
        as_of=time.time(),
    )
