"""Builds the trends chart: records, rejected share, duration and cost of the last runs of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars, format_duration
from batch_inference.reporting.charts.chart import BAD, GOOD, OTHER, Chart, build_axis_title, build_layout

RunSummary = Mapping[str, Any]
#: Title, value from a run's summary, its format, and the colour.
METRICS: Sequence[tuple[str, Callable[[RunSummary], float | None], Callable[[float], str], str]] = (
    ("Records in", lambda run: run["records"]["in"], lambda number: f"{number:,.0f}", OTHER),
    ("Rejected", lambda run: compute_rejected_share(run), lambda share: f"{share:.2%}", BAD),
    ("Duration", lambda run: run["seconds"], format_duration, OTHER),
    ("Cost", lambda run: run["dollars"], format_dollars, GOOD),
)


def compute_rejected_share(run: RunSummary) -> float | None:
    """The share of a run's records that were rejected, None without records."""
    records = run["records"]
    return records["rejected"] / records["in"] if records["in"] else None


def build_trends_chart(runs: Sequence[RunSummary]) -> Chart | None:
    """Small charts over one axis of runs, oldest first; None with fewer than two.

    Each run is a `build_summary(report)`, with the run's own `data_time` and `seconds` in place of those of its jobs.
    """
    if len(runs) < 2:
        return None
    names = [run["data_time"] for run in runs]
    unit, suffix_of_unit = _choose_time_unit(runs)
    traces = []
    axes: dict[str, Any] = {}
    for number, (title, value, words, colour) in enumerate(METRICS, 1):
        suffix = "" if number == 1 else str(number)
        values = [value(run) for run in runs]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": title,
                "x": names,
                "y": [None if each is None else each / unit for each in values]
                if title == "Duration"
                else values,
                "yaxis": f"y{suffix}",
                "line": {"color": colour, "width": 2},
                "marker": {"size": 5},
                "customdata": ["unknown" if each is None else words(each) for each in values],
                "hovertemplate": f"%{{x|%-d %b %Y, %H:%M}}<br>{title}: %{{customdata}}<extra></extra>",
            }
        )
        top = 1 - (number - 1) / len(METRICS)
        axes[f"yaxis{suffix}"] = {
            "domain": [top - 1 / len(METRICS) + 0.04, top - 0.04],
            "title": build_axis_title(title),
            "rangemode": "tozero",
            "nticks": 4,
            **({"tickformat": ".1%"} if title == "Rejected" else {}),
            **({"tickprefix": "$"} if title == "Cost" else {}),
            **({"ticksuffix": suffix_of_unit} if title == "Duration" else {}),
        }
    figure = {
        "data": traces,
        "layout": build_layout(
            height=520, xaxis={"type": "date", "showgrid": False, "anchor": f"y{len(METRICS)}"}, **axes
        ),
    }
    return Chart(
        name="trends",
        title=f"Last {format_count(len(runs), 'run')} with a report",
        caption=_caption(runs),
        figure=figure,
    )


def _choose_time_unit(runs: Sequence[RunSummary]) -> tuple[int, str]:
    """The number of seconds of a suitable unit for the longest run, and its suffix."""
    longest = max((run["seconds"] or 0 for run in runs), default=0)
    return next(
        ((size, name) for size, name in ((3600, " h"), (60, " min")) if longest >= 3 * size), (1, " s")
    )


def _caption(runs: Sequence[RunSummary]) -> str:
    said = []
    for title, value, words, _ in METRICS:
        values = [each for each in map(value, runs) if each is not None]
        if values:
            said.append(f"{title}: {words(min(values))} to {words(max(values))}, last {words(values[-1])}.")
    return " ".join(said)
