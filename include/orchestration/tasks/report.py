"""`report`: what came in, what became of it, what it cost, in figures and as a page."""

from __future__ import annotations

import logging
from typing import Any

from include.orchestration import history
from include.orchestration.direct.jobs import finished_jobs, together
from include.orchestration.measure import work_of
from include.orchestration.names import (
    CALIBRATE,
    CANARIED,
    CUT,
    JOIN_JOB_DONE,
    JOINED,
    PLAN,
    PREPROCESSED,
    PUBLISH,
    SHARDS,
    TRANSFORMED,
)
from include.orchestration.pipelines import named
from include.orchestration.readback import first_rows
from include.orchestration.storage import Storage
from include.scoring.calibration import with_calibration
from include.scoring.config import Pipeline
from include.scoring.history import rows_of
from include.scoring.naming import RunPaths
from include.scoring.report import build_report, render_html, render_text
from include.scoring.summary import summary

log = logging.getLogger(__name__)

#: Joined rows that the report shows.
SHOWN_ROWS = 5


def report(pipeline: str, *, ti: Any, **_: Any) -> dict[str, Any]:
    """Write report.json and report.html below the run's prefix; the figures for lists, and where the report is."""
    config, plan = named(pipeline), ti.xcom_pull(PLAN)
    storage, paths, published = (
        Storage(config.aws_conn_id, config.region),
        RunPaths(plan["run_prefix"]),
        ti.xcom_pull(PUBLISH),
    )
    jobs, facts = finished(config, ti) if config.preprocess is not None else finished_alone(config, ti)
    document, resized = storage.read_json(paths.plan), ti.xcom_pull(CALIBRATE)
    if resized is not None and resized["sentences"]:
        document = with_calibration(document, resized, jobs["transform"]["instance_count"])
    figures = build_report(
        plan=document,
        jobs=jobs,
        facts=facts,
        manifest=storage.read_json(published["manifest"]),
        first_rows=first_rows(storage, published["files"][0], SHOWN_ROWS),
    )
    storage.write_json(paths.report_json, figures)
    storage.write(paths.report_html, render_html(figures), content_type="text/html; charset=utf-8")
    history.write(storage, config, plan["nonce"], rows_of(figures))
    log.info("\n%s", render_text(figures))
    return {**summary(figures), "report_json": paths.report_json, "report_html": paths.report_html}


def finished(config: Pipeline, ti: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The jobs of both stages, and the facts that `shards` read back."""
    jobs = {
        stage: dict(ti.xcom_pull(task))
        for stage, task in (("preprocess", PREPROCESSED), ("transform", TRANSFORMED))
    }
    facts = ti.xcom_pull(SHARDS, key="facts")
    # `preprocess` measures itself; what the model's containers did is read from their logs.
    jobs["preprocess"] |= {"busy_seconds": facts["busy_seconds"], "instances": facts.get("instances")}
    jobs["transform"] |= work_of(config.aws_conn_id, config.region, jobs["transform"])
    canary = ti.xcom_pull(CANARIED)
    if canary is not None:
        # Both are the stage: its records, its cost and its rate are those of all shards.
        canary = {**canary, **work_of(config.aws_conn_id, config.region, canary)}
        jobs["transform"] = together([canary, jobs["transform"]])
    if config.join.processing_above is not None and (done := ti.xcom_pull(JOIN_JOB_DONE)):
        jobs["join"] = {**done, "busy_seconds": ti.xcom_pull(JOINED, key="busy_seconds")}
    return jobs, facts


def finished_alone(config: Pipeline, ti: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The transform jobs of a pipeline without preprocessing as one stage, and the facts of `cut`."""
    jobs = [{**job, **work_of(config.aws_conn_id, config.region, job)} for job in finished_jobs(ti)]
    return {"transform": together(jobs)}, {"preprocess_job": None, **ti.xcom_pull(CUT, key="facts")}
