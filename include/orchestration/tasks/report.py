"""`report`: what came in, what became of it, what it cost, in figures and as a page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.orchestration import history, published_runs
from include.orchestration.claims import Claim
from include.orchestration.names import CHECKS, PLAN, PUBLISH
from include.orchestration.readback import first_rows
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.scored import profile_of
from include.orchestration.storage import Storage
from include.scoring.bias import group_report
from include.scoring.calibration import with_calibration
from include.scoring.config import Pipeline
from include.scoring.history import rows_of
from include.scoring.report import build_report, render_html, render_text
from include.scoring.summary import summary

log = logging.getLogger(__name__)

#: Joined rows that the report shows.
SHOWN_ROWS = 5
#: Values of a text column that it shows, the most frequent.
SHOWN_TEXTS = 20


@with_run
def report(run: RunContext, **_: Any) -> dict[str, Any]:
    """Write report.json and report.html below the run's prefix; the figures for lists, and where the report is.

    Raises:
        OvertakenError: another process of this task has written the report meanwhile.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    claim = Claim(run.ti, storage, paths.report_json, paths.report_html)
    published, scored = run.pull(PUBLISH), run.read_json(paths.scored, written_by=CHECKS)
    document, resized = run.read_json(paths.plan, written_by=PLAN), scored["resized"]
    if resized is not None and resized["sentences"]:
        document = with_calibration(document, resized, scored["jobs"]["transform"]["instance_count"])
    figures = build_report(
        plan=document,
        jobs=scored["jobs"],
        facts=scored["facts"],
        # A run that was published by an earlier release has not kept its manifest.
        manifest=storage.read_json(published.get("committed", published["manifest"])),
        quality=quality(run, scored),
        # The same bytes as the published part, which the next run may have replaced already.
        first_rows=first_rows(storage, scored["parts"][0]["uri"], SHOWN_ROWS, config.input.delimiter),
    )
    claim.write_json(paths.report_json, figures)
    claim.write(paths.report_html, render_html(figures), content_type="text/html; charset=utf-8")
    history.write(storage, config, plan["nonce"], rows_of(figures))
    log.info("\n%s", render_text(figures))
    return {**summary(figures), "report_json": paths.report_json, "report_html": paths.report_html}


def quality(run: RunContext, scored: Mapping[str, Any]) -> dict[str, Any]:
    """The report's sections about the data: profile, predictions beside those of the run before, groups, gates."""
    config, storage, paths = run.pipeline, run.storage, run.paths
    profile = profile_of(storage, paths, scored)
    statistics = run.read_json(paths.statistics, written_by=CHECKS)
    job = scored["facts"]["preprocess_job"]
    selected = config.predictions.selected
    return {
        "checks": run.read_json(paths.checks, written_by=CHECKS),
        "predictions": {name: described(column) for name, column in statistics["columns"].items()},
        "previous": previous(storage, config, run.plan),
        "groups": group_report(
            profile["groups"],
            statistics["groups"],
            None if selected is None else selected.model_dump(mode="json", exclude_defaults=True),
        ),
        "columns": {name: described(column) for name, column in profile["columns"].items()},
        "profile": None if job is None else paths.job(job).merged_profile,
        "statistics": paths.statistics,
    }


def previous(storage: Storage, config: Pipeline, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The run published before this one, and its predictions; None for the first."""
    moment = datetime.fromisoformat(plan["moment"])
    earlier = published_runs.before(storage, config, moment=moment, run_id=plan["run_id"], most=1)
    if not earlier:
        return None
    columns = storage.read_json(earlier[0]["statistics"])["columns"]
    return {
        "run_id": earlier[0]["run_id"],
        "moment": earlier[0]["moment"],
        "predictions": {name: described(column) for name, column in columns.items()},
    }


def described(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A column's profile for people: without its buckets, and of texts the most frequent alone."""
    found = {name: value for name, value in profile.items() if name not in ("sketch", "values")}
    if "values" in profile:
        found["distinct"] = len(profile["values"])
        found["values"] = dict(list(profile["values"].items())[:SHOWN_TEXTS])
    return found
