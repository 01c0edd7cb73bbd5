"""Builds the cost chart: the run, compared with an unsized transform and with an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.pricing.costs import sum_if_known
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import BAD, GOOD, IDLE, OTHER, WAITING, Row, Segment, draw_rows

#: A part of what a run costs: its name and its dollars.
CostPart = tuple[str, float]
FAILED_ATTEMPTS, TRIALS = "failed attempts", "trials"
COLOURS = {"preprocess": OTHER, "transform": GOOD, "join": IDLE, TRIALS: WAITING, FAILED_ATTEMPTS: BAD}


def build_cost_chart(report: Mapping[str, Any]) -> Chart | None:
    """What this run cost, and what it would have cost unsized; None while the cost is unknown.

    The unsized run has the same stages as this one, with an unsized transform, no trials and no failed attempts. What
    an endpoint costs a day is said in the caption: it is no cost of one run.
    """
    own = (report.get("total") or {}).get("dollars")
    comparison = report.get("comparison")
    if own is None or comparison is None:
        return None
    rows = [("This run", list_cost_parts(report))]
    if (unsized := _list_unsized_parts(report)) is not None:
        count = comparison["naive"]["instance_count"]
        rows.append((f"Without sizing, on {format_count(count, 'instance')}", unsized))
    totals = [sum(dollars for _, dollars in parts) for _, parts in rows]
    caption = _caption(own, rows[0][1], None if unsized is None else totals[1], comparison)
    names = dict.fromkeys(name for _, parts in rows for name, dollars in parts if dollars)
    return Chart(
        name="cost",
        title="Cost",
        caption=caption,
        svg=draw_rows(
            [_row(label, parts) for label, parts in rows],
            low=0,
            high=max(totals),
            description=f"Cost. {caption}",
        ),
        legend=tuple((name.capitalize(), COLOURS.get(name, OTHER)) for name in names),
    )


def list_cost_parts(report: Mapping[str, Any]) -> list[CostPart]:
    """The dollars of each stage without failed attempts, of the trials and of the failed attempts.

    Only for a report whose `total` has `dollars`: then all of them are known.
    """
    parts = [(stage["stage"], stage["dollars"] - _get_failed_dollars(stage)) for stage in report["stages"]]
    if report["trials"]:
        parts.append((TRIALS, sum_if_known(trial["dollars"] for trial in report["trials"]) or 0.0))
    if failed := sum(_get_failed_dollars(stage) for stage in report["stages"]):
        parts.append((FAILED_ATTEMPTS, failed))
    return parts


def _get_failed_dollars(stage: Mapping[str, Any]) -> float:
    """The dollars of a stage's failed attempts: their part of its billed instance-seconds."""
    share: float = (
        stage["earlier_billed_seconds"] / stage["billed_seconds"] if stage["billed_seconds"] else 0.0
    )
    return share * float(stage["dollars"])


def _list_unsized_parts(report: Mapping[str, Any]) -> list[CostPart] | None:
    """The parts of an unsized run; None when the cost of its transform is unknown."""
    dollars = report["comparison"]["naive"]["dollars"]
    if dollars is None:
        return None
    stages = {stage["stage"] for stage in report["stages"]}
    return [
        (name, dollars if name == "transform" else own)
        for name, own in list_cost_parts(report)
        if name in stages
    ]


def _row(label: str, parts: Sequence[CostPart]) -> Row:
    segments, start = [], 0.0
    for name, dollars in parts:
        title = f"{label}: {name}\n{format_dollars(dollars)}"
        segments.append(
            Segment(start=start, end=start + dollars, colour=COLOURS.get(name, OTHER), title=title)
        )
        start += dollars
    return Row(label=label, text=format_dollars(start), segments=segments)


def _caption(
    own: float, parts: Sequence[CostPart], unsized: float | None, comparison: Mapping[str, Any]
) -> str:
    said = f"This run cost {format_dollars(own)}: " + ", ".join(
        f"{name} {format_dollars(dollars)}" for name, dollars in parts
    )
    said += "."
    if unsized is not None:
        count = format_count(comparison["naive"]["instance_count"], "instance")
        said += f" It would have cost {format_dollars(unsized)} with a transform on {count} without sizing."
    return " ".join([said, *describe_endpoint(comparison["endpoint"], own)])


def describe_endpoint(endpoint: Mapping[str, Any], own: float | None) -> list[str]:
    """What an endpoint that is always on costs, as a sentence; none when its price is unknown."""
    per_day, breakeven = endpoint["dollars_per_day"], endpoint["breakeven_records_per_day"]
    if per_day is None:
        return []
    said = f"An endpoint of one {endpoint['instance_type']} costs {format_dollars(per_day)} a day"
    if own and per_day >= own:
        said += f", as much as {format_count(int(per_day / own), 'such run')}"
    if breakeven is not None:
        said += f", and is cheaper from {breakeven:,} records a day"
    return [f"{said}."]
