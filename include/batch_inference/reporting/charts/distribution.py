"""Builds the distribution charts: the predictions of the run, compared with those of the previous run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from batch_inference.common.formatting import format_count, format_number, format_range, format_share
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import (
    BELOW,
    GOOD,
    TEXT,
    Canvas,
    Column,
    Row,
    Segment,
    add_axis,
    add_columns,
    build_scale,
    choose_ticks,
    draw_rows,
)

Profile = Mapping[str, Any]
#: Maximum values of a text prediction that are shown, most frequent first.
MAX_VALUES = 20
#: Height of a histogram in pixels, and the room for the texts of its ticks as a share of its width.
HEIGHT, GUTTER = 200, 0.12
THIS_RUN, PREVIOUS_RUN = ("This run", GOOD), ("Previous run", TEXT)


def build_distribution_charts(report: Mapping[str, Any]) -> Iterator[Chart]:
    """A chart for each prediction column, from the profiles in `report["quality"]`.

    `quality["predictions"]` maps columns to profiles, `quality["previous"]["predictions"]` to those of the run before.
    """
    quality = report.get("quality") or {}
    before = (quality.get("previous") or {}).get("predictions") or {}
    for number, (column, profile) in enumerate((quality.get("predictions") or {}).items()):
        earlier = before.get(column)
        if earlier is not None and earlier["kind"] != profile["kind"]:
            earlier = None
        is_number = profile["kind"] == "number"
        shown = "histogram" if is_number else "values"
        if not profile.get(shown):
            continue
        if earlier is not None and not earlier.get(shown):
            earlier = None
        caption = _caption(column, profile, earlier)
        draw = _draw_numbers if is_number else _draw_texts
        yield Chart(
            name=f"predictions-{number}",
            title=f"Predictions: {column}",
            caption=caption,
            svg=draw(profile, earlier, f"Predictions. {caption}"),
            legend=() if earlier is None else (THIS_RUN, PREVIOUS_RUN),
        )


def _draw_numbers(profile: Profile, before: Profile | None, description: str) -> Markup:
    """A histogram of the share of rows in each bin, so that runs of different size compare."""
    bins = _list_bins(profile)
    earlier = [] if before is None else _list_bins(before)
    low, high = min(start for start, _, _ in (*bins, *earlier)), max(end for _, end, _ in (*bins, *earlier))
    top = max(share for _, _, share in (*bins, *earlier))
    columns = [
        Column(
            start=start,
            end=end,
            value=share,
            colour=GOOD,
            title=f"{format_range(format_number(start), format_number(end))}\n{format_share(share)} of rows",
        )
        for start, end, share in bins
    ]
    steps = [(x, share) for start, end, share in earlier for x, share in ((start, share), (end, share))]
    outline = [(steps[0][0], 0.0), *steps, (steps[-1][0], 0.0)] if steps else []
    canvas = Canvas()
    canvas.height = 16
    ticks = choose_ticks(0, top, text=format_share)
    scale = build_scale(low, high, gutter=GUTTER)
    add_columns(canvas, columns, scale=scale, top=top, ticks=ticks, height=HEIGHT, outline=outline)
    add_axis(canvas, [(scale(place), text) for place, text in choose_ticks(low, high)])
    canvas.height += 2
    return canvas.render(description)


def _list_bins(profile: Profile) -> list[tuple[float, float, float]]:
    """Start, end and share of rows of each bin; of a single value a bin of some width, so that it is visible."""
    edges, counts = profile["histogram"]["edges"], profile["histogram"]["counts"]
    if edges[0] == edges[-1]:
        edges = [edges[0] - 0.5, edges[0] + 0.5]
    whole = sum(counts) or 1
    return [
        (start, end, count / whole) for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _draw_texts(profile: Profile, before: Profile | None, description: str) -> Markup:
    rows = []
    for value in list(profile["values"])[:MAX_VALUES]:
        share = _compute_share(profile, value)
        segments = [
            Segment(
                start=0, end=share, colour=GOOD, title=f"{value}\nThis run: {format_share(share)} of rows"
            )
        ]
        if before is not None:
            earlier = _compute_share(before, value)
            title = f"{value}\nPrevious run: {format_share(earlier)} of rows"
            segments.append(Segment(start=0, end=earlier, colour=TEXT, title=title, band=BELOW))
        rows.append(Row(label=str(value), text=format_share(share), segments=segments))
    most = max(segment.end for row in rows for segment in row.segments)
    return draw_rows(rows, low=0, high=most, description=description)


def _compute_share(profile: Profile, value: str) -> float:
    share: float = profile["values"].get(value, 0) / (profile["count"] or 1)
    return share


def _caption(column: str, profile: Profile, before: Profile | None) -> str:
    missing = f"; {format_count(profile['nulls'], 'row')} without a value" if profile["nulls"] else ""
    if profile["kind"] == "text":
        frequent = next(iter(profile["values"]), None)
        different = format_count(profile.get("distinct", len(profile["values"])), "value")
        return f"{column}: {different}, most often {frequent}{missing}."
    said = f"{column}: {_summarize(profile)}{missing}"
    if before is None or not before["count"]:
        return f"{said}. There is no previous run."
    return f"{said}. The previous run had {_summarize(before)}."


def _summarize(profile: Profile) -> str:
    least, mean, most = (format_number(profile[key]) for key in ("min", "mean", "max"))
    return f"the one value {least}" if least == most else f"mean {mean}, from {least} to {most}"
