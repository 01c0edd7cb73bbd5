"""Builds the report of one run: report.json, and from it the text and the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from batch_inference.planning.clusters.estimate import StageEstimate
from batch_inference.planning.clusters.rate_history import REQUEST_SETTINGS
from batch_inference.planning.plan import Plan
from batch_inference.pricing.comparison import compare_with_endpoint, compare_with_naive
from batch_inference.pricing.costs import StageUsage, compute_cost_per_1000, sum_if_known
from batch_inference.pricing.price_source import build_price_source
from batch_inference.reporting.html import render_html as render_html
from batch_inference.reporting.text import render_text as render_text
from batch_inference.reporting.trials import build_trials
from batch_inference.reporting.warnings import build_warnings


def build_report(
    *,
    plan: Plan,
    jobs: Mapping[str, Mapping[str, Any]],
    trials: Sequence[Mapping[str, Any]] = (),
    shard_stats: Mapping[str, Any],
    manifest: Mapping[str, Any],
    first_rows: Sequence[Mapping[str, Any]],
    leading_columns: Sequence[str] = (),
    reject_details: Mapping[str, Any],
    rows_before: Sequence[int] = (),
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """The figures of a published run as JSON-safe values; unknown ones are None.

    `jobs` maps a stage to its finished job, which may carry `busy_seconds` (summed over instances, None when unknown)
    and `instances` (when each of them worked); `trials` are those of `ScoredRun`; `manifest` is what was published;
    `first_rows` some of its rows, of which `leading_columns` are shown first; `reject_details` is the result of
    `collect_reject_details`; `rows_before` are the rows of earlier published runs. `quality` has
    - `checks`: checks.json, with the `state` of the run and for each gate `outcome`, `sentence` and `figures`,
    - `predictions` and `columns`: by column of predictions, and of records that passed, a profile: `kind`, `count`,
      `nulls`; of numbers `min`, `max`, `mean`, `std`, `quantiles`, `histogram` (`edges`, `counts`); of texts `distinct`
      and `values` with their counts,
    - `previous`: the run published before, its `run_id`, `data_time` and `predictions`; None for the first,
    - `groups`: for each sensitive column figures by group, see `fairness.build_group_report`,
    - `profile` and `statistics`: the URIs of all of it, for `baseline` and for other runs to be compared with.
    """
    prices = plan.get_prices()
    usages = [
        StageUsage.from_job(stage, job, busy_seconds=job.get("busy_seconds")) for stage, job in jobs.items()
    ]
    scored = manifest["records"]["scored"]
    stages = [
        {
            **use.build_figures(prices, scored_count=scored),
            "why": _list_size_reasons(plan, use),
            **(plan.transform.model_dump(include=set(REQUEST_SETTINGS)) if use.stage == "transform" else {}),
            "instances": jobs[use.stage].get("instances"),
            # The single jobs of a stage with several; None for one.
            "jobs": jobs[use.stage].get("jobs"),
        }
        for use in usages
    ]
    transform = next(use for use in usages if use.stage == "transform")
    tried = build_trials(plan, trials, transform, prices, scored_count=scored)
    # The figures of the run are those of all of its jobs.
    every = [*usages, *(StageUsage.model_validate(each) for each in tried)]
    created = [use.created_at for use in every]
    ended = [use.ended_at for use in every if use.ended_at is not None]
    dollars = sum_if_known(stage["dollars"] for stage in (*stages, *tried))
    billed, idle = sum(use.billed_seconds for use in every), sum_if_known(use.idle_seconds for use in every)
    types = {name for use in every for name in (use.instance_type, *(use.billed_by_type or ()))}
    return {
        "version": 1,
        **plan.model_dump(mode="json", include={"pipeline", "run_id", "data_time", "input", "estimate"}),
        "records": dict(manifest["records"]),
        "output": {
            "uri": manifest["output_uri"],
            "files": len(manifest["files"]),
            "rows": manifest["rows"],
            "manifest": f"{manifest['output_uri']}_manifest.json",
        },
        # A `rows` gate compares with bounds of its own.
        "warnings": build_warnings(
            manifest["records"],
            rows=manifest["rows"],
            rows_before=()
            if any(gate["gate"] == "rows" for gate in quality["checks"]["gates"])
            else rows_before,
        ),
        "reject_details": dict(reject_details),
        "model": dict(manifest["model"]),
        "shards": shard_stats["count"],
        "stages": stages,
        "trials": tried,
        "total": {
            "seconds": max(ended) - min(created) if ended and created else None,
            "provisioning_seconds": sum(use.provisioning_seconds for use in every),
            "running_seconds": sum(use.running_seconds for use in every),
            "billed_seconds": billed,
            "busy_seconds": sum_if_known(use.busy_seconds for use in every),
            "idle_seconds": idle,
            "idle_share": None if idle is None or not billed else idle / billed,
            "dollars": dollars,
            "dollars_per_1000_records": compute_cost_per_1000(dollars, scored),
        },
        "comparison": {
            "naive": compare_with_naive(
                transform,
                prices,
                text_bytes=round(plan.input.text_bytes * (1 - sum(each["share"] for each in trials))),
                **plan.naive.model_dump(),
            ),
            "endpoint": compare_with_endpoint(
                transform.instance_type, prices, scored_count=scored, dollars=dollars
            ),
        },
        "prices": build_price_source(prices, types, plan.region),
        "plan_error": {
            use.stage: _compute_plan_error(use, getattr(plan.estimate, use.stage)) for use in usages
        },
        "sentences": list(plan.sentences),
        "quality": dict(quality),
        "leading_columns": list(leading_columns),
        "first_rows": [{name: _to_json_value(value) for name, value in row.items()} for row in first_rows],
    }


def _list_size_reasons(plan: Plan, usage: StageUsage) -> list[str]:
    """The plan's sentences about the size of a stage's cluster, and one where fewer instances ran."""
    reasons = [entry.text for entry in plan.log if entry.field == f"{usage.stage}.instance_count"]
    stage_plan: Any = plan.join.job if usage.stage == "join" else getattr(plan, usage.stage)
    planned = stage_plan.instance_count
    if usage.instance_count < planned:
        ran = f"ran on {usage.instance_count} of the {planned} planned, because"
        if usage.earlier_billed_seconds:
            reasons.append(f"Its last job {ran} the earlier ones had left few shards.")
        else:
            reasons.append(f"It {ran} there were fewer shards.")
    return reasons


def _compute_plan_error(usage: StageUsage, planned: StageEstimate) -> float | None:
    """The error of the plan: actual running time over planned running time, minus 1.

    None when the plan rests on no earlier run, or the stage did not run.
    """
    known = planned.runs and planned.seconds and usage.running_seconds
    return usage.running_seconds / planned.seconds - 1 if known else None


def _to_json_value(value: Any) -> Any:
    """A cell as a JSON value: null for NaN, a text for a date, a number for a decimal."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and value != value:  # NaN is the only float that differs from itself
        return None
    if hasattr(value, "item"):
        return _to_json_value(value.item())
    return value if isinstance(value, str | int | float | bool | None) else str(value)
