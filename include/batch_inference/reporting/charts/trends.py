"""Builds the trends chart: records, rejected share, duration and cost of the last runs of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from batch_inference.common.formatting import (
    format_count,
    format_dollars,
    format_duration,
    format_range,
    format_share,
)
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import (
    BAD,
    GOOD,
    LINE_HEIGHT,
    OTHER,
    Canvas,
    Column,
    add_axis,
    add_columns,
    build_scale,
)

RunSummary = Mapping[str, Any]
#: Maximum runs that are shown, the last ones.
MAX_RUNS = 30
#: Height of the columns of one figure in pixels, and their width as a share of the room of a run.
PANEL_HEIGHT, COLUMN_WIDTH = 64, 0.7


def compute_rejected_share(run: RunSummary) -> float | None:
    """The share of a run's records that were rejected, None without records."""
    records = run["records"]
    return records["rejected"] / records["in"] if records["in"] else None


#: Title, value from a run's summary, its format, the colour, and the least value that fills the height of the columns,
#: so that a few rejected records are not drawn as many.
METRICS: Sequence[tuple[str, Callable[[RunSummary], float | None], Callable[[float], str], str, float]] = (
    ("Records in", lambda run: run["records"]["in"], lambda number: f"{number:,.0f}", OTHER, 0),
    ("Rejected", compute_rejected_share, format_share, BAD, 0.01),
    ("Duration", lambda run: run["seconds"], format_duration, OTHER, 0),
    ("Cost", lambda run: run["dollars"], format_dollars, GOOD, 0),
)


def build_trends_chart(runs: Sequence[RunSummary]) -> Chart | None:
    """Small charts over one axis of the last published runs, oldest first; None with fewer than two.

    Each run is a `build_summary(report)`, with the run's own `data_time` and `seconds` in place of those of its jobs.
    Runs that published nothing must not be among them: they would pull down the figures of a usual run.
    """
    runs = runs[-MAX_RUNS:]
    if len(runs) < 2:
        return None
    times = [datetime.fromisoformat(run["data_time"]).astimezone(UTC) for run in runs]
    canvas, scale = Canvas(), build_scale(0, len(runs))
    for title, value, text, colour, least_top in METRICS:
        values = [value(run) for run in runs]
        known = [each for each in values if each is not None]
        most_known = max(known, default=0)
        canvas.add_text(0, canvas.height + 13, title)
        last = "unknown" if values[-1] is None else text(values[-1])
        most = f", most {text(most_known)}" if known else ""
        canvas.add_text(1, canvas.height + 13, f"last {last}{most}", anchor="end")
        canvas.height += LINE_HEIGHT + 4
        top = max(most_known, least_top)
        columns = [
            Column(
                start=number + (1 - COLUMN_WIDTH) / 2,
                end=number + (1 + COLUMN_WIDTH) / 2,
                value=each,
                colour=colour,
                title=f"{_format_time(time)}\n{title}: {'unknown' if each is None else text(each)}",
            )
            for number, (time, each) in enumerate(zip(times, values, strict=True))
        ]
        ticks = [(0.0, ""), (most_known, "")]
        add_columns(canvas, columns, scale=scale, top=top, ticks=ticks, height=PANEL_HEIGHT)
        canvas.height += 12
    add_axis(canvas, [(0, _format_time(times[0])), (1, _format_time(times[-1]))])
    caption = _caption(runs)
    title = f"Last {format_count(len(runs), 'published run')}"
    return Chart(name="trends", title=title, caption=caption, svg=canvas.render(f"{title}. {caption}"))


def _format_time(time: datetime) -> str:
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def _caption(runs: Sequence[RunSummary]) -> str:
    said = []
    for title, value, text, *_ in METRICS:
        values = [each for each in map(value, runs) if each is not None]
        if values:
            said.append(
                f"{title}: {format_range(text(min(values)), text(max(values)))}, last {text(values[-1])}."
            )
    return " ".join(said)
