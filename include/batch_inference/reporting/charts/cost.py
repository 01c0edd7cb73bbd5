"""Builds the cost chart: the run, compared with an unsized one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import BAD, GOOD, IDLE, OTHER, WAITING, Row, Segment, draw_rows
from batch_inference.reporting.cost_comparison import (
    FAILED_ATTEMPTS,
    TRIALS,
    CostPart,
    describe_endpoint,
    describe_unsized,
    list_cost_parts,
    list_unsized_parts,
)

COLOURS = {"preprocess": OTHER, "transform": GOOD, "join": IDLE, TRIALS: WAITING, FAILED_ATTEMPTS: BAD}


def build_cost_chart(report: Mapping[str, Any]) -> Chart | None:
    """What this run cost, and what it would have cost unsized; None while the cost is unknown.

    What an endpoint costs a day is said in the caption: it is no cost of one run.
    """
    own = (report.get("total") or {}).get("dollars")
    comparison = report.get("comparison")
    if own is None or comparison is None:
        return None
    rows = [("This run", list_cost_parts(report))]
    if (unsized := list_unsized_parts(report)) is not None:
        count = comparison["naive"]["instance_count"]
        rows.append((f"Without sizing, on {format_count(count, 'instance')}", unsized))
    caption = " ".join([_describe(own, rows[0][1]), *describe_unsized(report), *describe_endpoint(report)])
    names = dict.fromkeys(name for _, parts in rows for name, dollars in parts if dollars)
    return Chart(
        name="cost",
        title="Cost",
        caption=caption,
        svg=draw_rows(
            [_row(label, parts) for label, parts in rows],
            low=0,
            high=max(sum(dollars for _, dollars in parts) for _, parts in rows),
            description=f"Cost. {caption}",
        ),
        legend=tuple((name.capitalize(), COLOURS.get(name, OTHER)) for name in names),
    )


def _row(label: str, parts: Sequence[CostPart]) -> Row:
    segments, start = [], 0.0
    for name, dollars in parts:
        title = f"{label}: {name}\n{format_dollars(dollars)}"
        segments.append(
            Segment(start=start, end=start + dollars, colour=COLOURS.get(name, OTHER), title=title)
        )
        start += dollars
    return Row(label=label, text=format_dollars(start), segments=segments)


def _describe(own: float, parts: Sequence[CostPart]) -> str:
    by_part = ", ".join(f"{name} {format_dollars(dollars)}" for name, dollars in parts)
    return f"This run cost {format_dollars(own)}: {by_part}."
