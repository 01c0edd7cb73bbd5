"""Builds the cost chart: the run, compared with an unsized transform and with an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.pricing.costs import sum_if_known
from batch_inference.reporting.charts.chart import (
    GOOD,
    HIDDEN_AXIS,
    IDLE,
    OTHER,
    WAITING,
    Chart,
    build_bar_layout,
)

#: Of the stages, in the order in which they run.
STAGE_COLOURS = (OTHER, GOOD, WAITING, IDLE)


def build_cost_chart(report: Mapping[str, Any]) -> Chart | None:
    """The costs of this run, of an unsized transform and of a day of an endpoint; None while the cost is unknown."""
    own = (report.get("total") or {}).get("dollars")
    comparison = report.get("comparison")
    if own is None or comparison is None:
        return None
    naive, endpoint = comparison["naive"], comparison["endpoint"]
    others = [
        (f"Transform, unsized on {naive['instance_count']}", naive["dollars"]),
        ("An endpoint, one day", endpoint["dollars_per_day"]),
    ]
    known = [(label, dollars) for label, dollars in others if dollars is not None]
    most = max([own, *(dollars for _, dollars in known)])
    stages = [(stage["stage"], stage["dollars"]) for stage in list_costs(report)]
    bars = [
        _bar(f"This run: {stage}", ["This run"], [dollars], colour)
        for (stage, dollars), colour in zip(stages, STAGE_COLOURS, strict=False)
    ]
    bars.append(_bar("Otherwise", [label for label, _ in known], [dollars for _, dollars in known], IDLE))
    rows = [("This run", own), *known]
    figure = {
        "data": [
            *bars,
            # The total at the end of each row: a stack of bars has no text for it.
            {
                "type": "scatter",
                "mode": "text",
                "y": [label for label, _ in rows],
                "x": [dollars for _, dollars in rows],
                "text": [f"  {format_dollars(dollars)}" for _, dollars in rows],
                "textposition": "middle right",
                "cliponaxis": False,
                "hoverinfo": "skip",
            },
        ],
        "layout": build_bar_layout(
            len(rows), barmode="stack", xaxis={**HIDDEN_AXIS, "range": [0, most * 1.25 or 1]}
        ),
    }
    return Chart(
        name="cost", title="Cost", caption=_caption(own, list_costs(report), naive, endpoint), figure=figure
    )


def list_costs(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The stages with their `dollars`, and the trials as one more."""
    trials = sum_if_known(trial["dollars"] for trial in report["trials"])
    return [*report["stages"], *([{"stage": "trials", "dollars": trials}] if report["trials"] else [])]


def _bar(name: str, rows: Sequence[str], dollars: Sequence[float], colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(rows),
        "x": list(dollars),
        "marker": {"color": colour},
        "customdata": [format_dollars(each) for each in dollars],
        "hovertemplate": f"{'%{y}' if name == 'Otherwise' else name}<br>%{{customdata}}<extra></extra>",
    }


def _caption(
    own: float, stages: Sequence[Mapping[str, Any]], naive: Mapping[str, Any], endpoint: Mapping[str, Any]
) -> str:
    parts = ", ".join(f"{stage['stage']} {format_dollars(stage['dollars'])}" for stage in stages)
    said = f"This run cost {format_dollars(own)}: {parts}."
    if naive["dollars"] is not None:
        said += (
            f" The transform alone would have cost {format_dollars(naive['dollars'])} on "
            f"{format_count(naive['instance_count'], 'instance')} without sizing."
        )
    if endpoint["dollars_per_day"] is not None:
        a_day = format_dollars(endpoint["dollars_per_day"])
        said += f" An endpoint of one {endpoint['instance_type']} costs {a_day} a day"
        more = endpoint["breakeven_records_per_day"]
        said += "." if more is None else f" and is cheaper from {more:,} records a day."
    return said
