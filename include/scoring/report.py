"""The report of one run: the figures (report.json), and the same for a terminal and for a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from include.scoring.comparison import compare
from include.scoring.cost import Prices, StageUse, load_prices, per_1000, total
from include.scoring.priced import pricing
from include.scoring.report_html import render_html as render_html
from include.scoring.report_text import render_text as render_text


def build_report(
    *,
    plan: Mapping[str, Any],
    jobs: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Any],
    manifest: Mapping[str, Any],
    first_rows: Sequence[Mapping[str, Any]],
    quality: Mapping[str, Any],
    prices: Prices | None = None,
) -> dict[str, Any]:
    """The figures of a run that was published, as JSON-safe values; what is not known is None.

    `plan` is the plan as JSON; `jobs` maps a stage to its finished job, which may carry `busy_seconds` (summed over
    instances, None when unknown) and `instances` (when each of them worked); `manifest` is what was published;
    `first_rows` some of its rows. `quality` has
    - `checks`: checks.json, with the `state` of the run and for each gate `outcome`, `sentence` and `figures`,
    - `predictions` and `columns`: by column of the answers, and of the records that passed, a profile: `kind`, `count`,
      `nulls`; of numbers `min`, `max`, `mean`, `std`, `quantiles`, `histogram` (`edges`, `counts`); of texts `distinct`
      and `values` with their counts,
    - `previous`: the run published before, its `run_id`, `moment` and `predictions`; None for the first,
    - `groups`: for each sensitive column figures by group, see `bias.group_report`,
    - `profile` and `statistics`: the URIs of all of it, for `baseline` and for other runs to be compared with.
    """
    prices = (prices or load_prices()).overridden(plan["prices"])
    uses = [
        StageUse.from_job(stage, job, busy_seconds=job.get("busy_seconds")) for stage, job in jobs.items()
    ]
    scored = manifest["records"]["scored"]
    stages = [
        {
            **use.figures(prices, scored=scored),
            "why": _reasons(plan, use),
            "instances": jobs[use.stage].get("instances"),
            # Of a stage that several jobs did; None where it was one.
            "jobs": jobs[use.stage].get("jobs"),
        }
        for use in uses
    ]
    created = [use.created_at for use in uses]
    ended = [use.ended_at for use in uses if use.ended_at is not None]
    dollars = total(stage["dollars"] for stage in stages)
    billed, idle = sum(use.billed_seconds for use in uses), total(use.idle_seconds for use in uses)
    types = {name for use in uses for name in (use.instance_type, *(use.billed_by_type or ()))}
    transform = next(use for use in uses if use.stage == "transform")
    return {
        "version": 1,
        "pipeline": plan["pipeline"],
        "run_id": plan["run_id"],
        "moment": plan["moment"],
        "records": dict(manifest["records"]),
        "input": dict(plan["input"]),
        "output": {
            "uri": manifest["output_uri"],
            "files": len(manifest["files"]),
            "rows": manifest["rows"],
            "manifest": f"{manifest['output_uri']}_manifest.json",
        },
        "rejects": f"{plan['run_prefix']}{facts['preprocess_job']}/rejects/"
        if facts["preprocess_job"]
        else None,
        # Where the records are that preprocessing passed and the model refused; None if there are none.
        "refused": (jobs["transform"].get("settled") or {}).get("rejects"),
        "model": dict(manifest["model"]),
        "shards": facts["count"],
        "stages": stages,
        "total": {
            "seconds": max(ended) - min(created) if ended and created else None,
            "provisioning_seconds": sum(use.provisioning_seconds for use in uses),
            "running_seconds": sum(use.running_seconds for use in uses),
            "billed_seconds": billed,
            "busy_seconds": total(use.busy_seconds for use in uses),
            "idle_seconds": idle,
            "idle_share": None if idle is None or not billed else idle / billed,
            "dollars": dollars,
            "dollars_per_1000_records": per_1000(dollars, scored),
        },
        "comparison": compare(plan=plan, use=transform, scored=scored, dollars=dollars, prices=prices),
        "prices": pricing(prices, types, plan.get("region")),
        "estimate": dict(plan["estimate"]),
        "plan_error": {use.stage: _error(use, plan["estimate"][use.stage]) for use in uses},
        "sentences": list(plan["sentences"]),
        "quality": dict(quality),
        "first_rows": [{name: _plain(value) for name, value in row.items()} for row in first_rows],
    }


def _reasons(plan: Mapping[str, Any], use: StageUse) -> list[str]:
    """The plan's sentences about the size of a stage's cluster, and one where fewer instances were enough."""
    said = [text for text in plan["sentences"] if text.startswith(f"{use.stage.capitalize()} uses ")]
    sized = plan["join"]["job"] if use.stage == "join" else plan[use.stage]
    planned = sized["instance_count"]
    if use.instance_count < planned:
        ran = f"ran on {use.instance_count} of the {planned} planned, because"
        if use.earlier_billed_seconds:
            said.append(f"Its last job {ran} the earlier ones had left it that little to do.")
        else:
            said.append(f"It {ran} there were no more shards to work on.")
    return said


def _error(use: StageUse, planned: Mapping[str, Any]) -> float | None:
    """How far the plan was off, as a share of the running time it predicted from what earlier runs measured.

    None when it predicted none, or had nothing but stated defaults to go by.
    """
    known = planned["runs"] and planned["seconds"] and use.running_seconds
    return use.running_seconds / planned["seconds"] - 1 if known else None


def _plain(value: Any) -> Any:
    """A cell as JSON knows it: NaN is missing, dates and decimals are texts and numbers."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and value != value:  # NaN is the only float that differs from itself
        return None
    if hasattr(value, "item"):
        return _plain(value.item())
    return value if isinstance(value, str | int | float | bool | None) else str(value)
