"""Builds the spending chart: dollars by day of a month, and the part of them that bought nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.pricing.run_costs import CostSums
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import (
    BAD,
    OTHER,
    Canvas,
    Column,
    add_axis,
    add_columns,
    build_scale,
    choose_ticks,
)

#: Height of the columns in pixels, their width as a share of a day, and the distance of the labels in days.
PANEL_HEIGHT, COLUMN_WIDTH, LABEL_DAYS = 140, 0.7, 7
#: The room for the texts of the ticks, as a share of the width.
GUTTER = 0.1


def build_spending_chart(days: Mapping[str, CostSums], month: str) -> Chart | None:
    """A column for each day of the month, such as `2026-11`; None when nothing with a known price was spent."""
    first = date.fromisoformat(f"{month}-01")
    count = ((first + timedelta(days=31)).replace(day=1) - first).days
    sums = [days.get((first + timedelta(days=number)).isoformat(), CostSums()) for number in range(count)]
    most = max(day.dollars for day in sums)
    if not most:
        return None
    canvas, scale = Canvas(), build_scale(0, count, gutter=GUTTER)
    canvas.height = 16.0
    ticks = choose_ticks(0, most, count=3, text=format_dollars)
    top = canvas.height
    for colour, values in (
        (OTHER, [day.dollars for day in sums]),
        (BAD, [day.unpublished_dollars for day in sums]),
    ):
        canvas.height = top
        columns = [
            Column(
                start=number + (1 - COLUMN_WIDTH) / 2, end=number + (1 + COLUMN_WIDTH) / 2, value=value,
                colour=colour, title=_describe_day(first + timedelta(days=number), sums[number]),
            )
            for number, value in enumerate(values)
        ]  # fmt: skip
        add_columns(canvas, columns, scale=scale, top=most, ticks=ticks, height=PANEL_HEIGHT)
    labels = range(0, count, LABEL_DAYS)
    add_axis(canvas, [(scale(number + 0.5), f"{first + timedelta(days=number):%-d %b}") for number in labels])
    highest = max(range(count), key=lambda number: sums[number].dollars)
    caption = f"Most on {_describe_day(first + timedelta(days=highest), sums[highest])}."
    return Chart(
        name="spending",
        title="Cost by day",
        caption=caption,
        svg=canvas.render(f"Cost by day. {caption}"),
        legend=(("published, or meant to publish nothing", OTHER), ("failed or held", BAD)),
    )


def _describe_day(day: date, sums: CostSums) -> str:
    text = f"{day:%-d %b}: {format_dollars(sums.dollars)} for {format_count(sums.runs, 'run')}"
    if sums.unpublished_dollars:
        text += f", {format_dollars(sums.unpublished_dollars)} of it for failed or held ones"
    return text
