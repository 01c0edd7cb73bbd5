"""Builds the charts by group of a sensitive column: rejected shares and mean predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count
from batch_inference.reporting.charts.chart import (
    BAD,
    GOOD,
    HIDDEN_AXIS,
    Chart,
    build_bar_layout,
    build_bar_trace,
)

#: Maximum groups that are shown, most records first.
MAX_GROUPS = 20


def build_group_charts(report: Mapping[str, Any]) -> Iterator[Chart]:
    """Charts of rejected share and mean predictions by group, for each sensitive column.

    `report["quality"]["groups"]` is a list; an entry has `column` and `groups`, and each of those `group`, `records`,
    `rejected_share` and `mean_prediction` (name to mean); shares and means that are not known are None or absent.
    """
    for number, entry in enumerate((report.get("quality") or {}).get("groups") or ()):
        column = entry["column"]
        groups = sorted(entry["groups"], key=lambda group: (-group["records"], group["group"]))[:MAX_GROUPS]
        rejected = [(group, group["rejected_share"]) for group in groups]
        yield from _build_chart(
            f"groups-{number}-rejected", f"Rejected by {column}", rejected, BAD, share=True
        )
        names = dict.fromkeys(name for group in groups for name in group["mean_prediction"])
        for place, name in enumerate(names):
            means = [(group, group["mean_prediction"].get(name)) for group in groups]
            title = f"Mean {name} by {column}"
            yield from _build_chart(f"groups-{number}-mean-{place}", title, means, GOOD, share=False)


def _build_chart(
    name: str, title: str, rows: Sequence[tuple[Mapping[str, Any], float | None]], colour: str, *, share: bool
) -> Iterator[Chart]:
    known = [(group, value) for group, value in rows if value is not None]
    if not known:
        return
    labels, values = [group["group"] for group, _ in known], [value for _, value in known]
    words = [f"{value:.2%}" if share else f"{value:.4g}" for value in values]
    bars = build_bar_trace(
        labels,
        values,
        words,
        colour,
        hover="%{customdata[0]}: %{text}<br>%{customdata[1]}",
        notes=[format_count(group["records"], "record") for group, _ in known],
    )
    layout = build_bar_layout(len(known), xaxis={**HIDDEN_AXIS, "range": _axis_range(values)})
    places = sorted(range(len(values)), key=values.__getitem__)
    low, high = (f"{words[place]} in {labels[place]}" for place in (places[0], places[-1]))
    caption = f"{title}: {low}, the only group." if len(values) == 1 else f"{title}: from {low} to {high}."
    yield Chart(name=name, title=title, caption=caption, figure={"data": [bars], "layout": layout})


def _axis_range(values: Sequence[float]) -> list[float]:
    """The range of the axis: from zero, with room for the number at the end of the longest bar."""
    least, most = min(0.0, *values), max(0.0, *values)
    room = (most - least) * 0.25 or 1.0
    return [least - (room if least < 0 else 0), most + (room if most > 0 or least == most else 0)]
