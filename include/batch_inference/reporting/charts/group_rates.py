"""Builds the charts by group of a sensitive column: rejected shares and mean predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_number, format_share
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import BAD, GOOD, Row, Segment, draw_rows

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
    text = format_share if share else format_number
    least, most = (choose(known, key=lambda row: row[1]) for choose in (min, max))
    low, high = (f"{text(value)} in {group['group']}" for group, value in (least, most))
    caption = f"{title}: {low}, the only group." if len(known) == 1 else f"{title}: from {low} to {high}."
    svg = draw_rows(
        [_row(group, value, text(value), colour) for group, value in known],
        low=min(0.0, least[1]),
        high=max(0.0, most[1]),
        description=caption,
    )
    yield Chart(name=name, title=title, caption=caption, svg=svg)


def _row(group: Mapping[str, Any], value: float, text: str, colour: str) -> Row:
    label = str(group["group"])
    title = f"{label}: {text}\n{format_count(group['records'], 'record')}"
    return Row(label=label, text=text, segments=[Segment(start=0, end=value, colour=colour, title=title)])
