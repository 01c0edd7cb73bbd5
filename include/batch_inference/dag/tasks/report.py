"""`write_report`: write report.json and report.html: records in and out, predictions, gates, and cost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from batch_inference.aws.readback import read_first_rows
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.stages import select_output_columns
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.planning.clusters.calibration import apply_calibration
from batch_inference.planning.clusters.rate_history import build_history_rows
from batch_inference.publishing.claims import DocumentClaim
from batch_inference.publishing.measured_rates import add_run_to_rate_history
from batch_inference.reporting.report import build_report, render_html, render_text
from batch_inference.reporting.summary import build_summary
from batch_inference.reporting.warnings import COMPARED_RUNS
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import ScoredRun
from batch_inference.run.task_ids import CHECKS, PUBLISH
from batch_inference.verification.fairness import build_group_report
from batch_inference.verification.rejects import collect_reject_details

log = logging.getLogger(__name__)

#: Joined rows that the report shows.
SHOWN_ROWS = 5
#: Values of a text column that it shows, the most frequent.
SHOWN_TEXTS = 20


@provide_run_context
def write_report(run: RunContext, **_: Any) -> dict[str, Any]:
    """Write report.json and report.html below the run's prefix; returns the run's summary and the URIs of both.

    Raises:
        OvertakenError: another process of this task has written the report since.
    """
    config, storage, paths = run.pipeline, run.storage, run.paths
    claim = DocumentClaim(run.ti, storage, paths.report_json, paths.report_html)
    published, scored_run = run.pull(PUBLISH), ScoredRun.read(run)
    plan, resized = run.plan, scored_run.resized
    if resized is not None and resized.log:
        plan = apply_calibration(plan, resized, scored_run.jobs["transform"]["instance_count"])
    figures = build_report(
        plan=plan,
        jobs=scored_run.jobs,
        trials=scored_run.trials,
        shard_stats=scored_run.stats,
        manifest=storage.read_json(published["committed"]),
        quality=build_quality_sections(run, scored_run),
        # The joined part has the same bytes as the published one, which the next run may have replaced.
        first_rows=withhold_columns(
            read_first_rows(storage, scored_run.parts[0]["uri"], SHOWN_ROWS, config.input.delimiter), config
        ),
        leading_columns=config.leading_columns,
        reject_details=collect_reject_details(
            storage.read_json, scored_run.stats, scored_run.stats.get("resolutions", ())
        ),
        rows_before=[each["rows"] for each in run.read_previous_runs(COMPARED_RUNS)],
    )
    claim.write_json(paths.report_json, figures)
    claim.write(paths.report_html, render_html(figures), content_type="text/html; charset=utf-8")
    add_run_to_rate_history(storage, config, run.nonce, build_history_rows(figures))
    log.info("\n%s", render_text(figures))
    return {
        **build_summary(figures),
        "warnings": [
            *figures["warnings"],
            *(
                gate["sentence"]
                for gate in figures["quality"]["checks"]["gates"]
                if gate["outcome"] == "warned"
            ),
        ],
        "report_json": paths.report_json,
        "report_html": paths.report_html,
    }


def withhold_columns(rows: Iterable[Mapping[str, Any]], pipeline: Pipeline) -> list[dict[str, Any]]:
    """The rows without the pipeline's sensitive columns."""
    names = select_output_columns(pipeline.column_names, pipeline.join)
    withheld = {names.get(each.column, each.column) for each in pipeline.sensitive}
    return [{name: value for name, value in row.items() if name not in withheld} for row in rows]


def build_quality_sections(run: RunContext, scored_run: ScoredRun) -> dict[str, Any]:
    """The report's sections about the data: profile, predictions of this run and the previous one, groups, gates."""
    paths = run.paths
    profile = scored_run.read_profile(run.storage, paths)
    statistics = run.read_json(paths.statistics, written_by=CHECKS)
    job = scored_run.stats["preprocess_job"]
    selected = run.pipeline.predictions.selected
    selected_document = None if selected is None else selected.model_dump(mode="json", exclude_defaults=True)
    return {
        "checks": run.read_json(paths.checks, written_by=CHECKS),
        "predictions": describe_columns(statistics["columns"]),
        "previous": read_previous_run(run),
        "groups": build_group_report(profile["groups"], statistics["groups"], selected_document),
        "columns": describe_columns(profile["columns"]),
        "profile": None if job is None else paths.build_job_paths(job).merged_profile,
        "statistics": paths.statistics,
    }


def read_previous_run(run: RunContext) -> dict[str, Any] | None:
    """The previously published run and its predictions; None for the first run."""
    earlier = run.read_previous_runs(1)
    if not earlier:
        return None
    columns = run.storage.read_json(earlier[0]["statistics"])["columns"]
    shown = {key: earlier[0][key] for key in ("run_id", "data_time")}
    return {**shown, "predictions": describe_columns(columns)}


def describe_columns(profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Columns' profiles for the report: without their sketches, and with the most frequent texts only."""
    described: dict[str, dict[str, Any]] = {}
    for column, profile in profiles.items():
        found = {name: value for name, value in profile.items() if name not in ("sketch", "values")}
        if "values" in profile:
            texts = list(profile["values"].items())
            found |= {"distinct": len(texts), "values": dict(texts[:SHOWN_TEXTS])}
        described[column] = found
    return described
