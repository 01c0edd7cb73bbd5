"""`report`: what came in, what became of it, what it cost, in figures and as a page."""

from __future__ import annotations

import logging
from typing import Any

from include.orchestration import history
from include.orchestration.measure import work_of
from include.orchestration.names import PLAN, PREPROCESSED, PUBLISH, SHARDS, TRANSFORMED
from include.orchestration.pipelines import named
from include.orchestration.readback import first_rows
from include.orchestration.storage import Storage
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
    jobs = {
        stage: dict(ti.xcom_pull(task))
        for stage, task in (("preprocess", PREPROCESSED), ("transform", TRANSFORMED))
    }
    facts = ti.xcom_pull(SHARDS, key="facts")
    # `preprocess` measures itself; what the model's containers did is read from their logs.
    jobs["preprocess"] |= {"busy_seconds": facts["busy_seconds"], "instances": facts.get("instances")}
    jobs["transform"] |= work_of(config.aws_conn_id, config.region, jobs["transform"])
    figures = build_report(
        plan=storage.read_json(paths.plan),
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
