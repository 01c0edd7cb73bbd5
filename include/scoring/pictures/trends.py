"""The last runs of a pipeline side by side: records, share rejected, time and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from include.scoring.messages import count, duration, money
from include.scoring.pictures.picture import BAD, GOOD, LINE, OTHER, Picture, layout, titled

_Figures = Mapping[str, Any]
#: Title, unit of the hover, what is drawn of a run's summary, how a person reads it, and the colour.
ROWS: Sequence[tuple[str, Callable[[_Figures], float | None], Callable[[float], str], str]] = (
    ("Records in", lambda run: run["records"]["in"], lambda number: f"{number:,.0f}", OTHER),
    ("Rejected", lambda run: rejected_share(run), lambda share: f"{share:.2%}", BAD),
    ("Duration", lambda run: run["seconds"], duration, OTHER),
    ("Cost", lambda run: run["dollars"], money, GOOD),
)


def rejected_share(run: _Figures) -> float | None:
    """The share of a run's records that were rejected, None when none came in."""
    records = run["records"]
    return records["rejected"] / records["in"] if records["in"] else None


def trends(runs: Sequence[_Figures]) -> Picture | None:
    """Small plots over one axis of runs, oldest first; None with fewer than two.

    Each run is `summary(report)`, with the run's own `moment` and `seconds` in place of those of its jobs.
    """
    if len(runs) < 2:
        return None
    names = [run["moment"] for run in runs]
    unit, suffix_of_unit = _unit_of_time(runs)
    traces = []
    axes: dict[str, Any] = {}
    for number, (title, value, words, colour) in enumerate(ROWS, 1):
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
        top = 1 - (number - 1) / len(ROWS)
        axes[f"yaxis{suffix}"] = {
            "domain": [top - 1 / len(ROWS) + 0.04, top - 0.04],
            "title": titled(title),
            "rangemode": "tozero",
            "gridcolor": LINE,
            "zerolinecolor": LINE,
            "nticks": 4,
            "automargin": True,
            "fixedrange": True,
            **({"tickformat": ".1%"} if title == "Rejected" else {}),
            **({"tickprefix": "$"} if title == "Cost" else {}),
            **({"ticksuffix": suffix_of_unit} if title == "Duration" else {}),
        }
    first = axes.pop("yaxis")
    figure = {
        "data": traces,
        "layout": layout(
            height=520,
            xaxis={"type": "date", "showgrid": False, "anchor": f"y{len(ROWS)}"},
            yaxis=first,
            **axes,
        ),
    }
    return Picture(
        name="trends",
        title=f"Last {count(len(runs), 'run')} with a report",
        caption=_caption(runs),
        figure=figure,
    )


def _unit_of_time(runs: Sequence[_Figures]) -> tuple[int, str]:
    """Seconds in the unit in which the longest run is a number of a few digits, and how it is written."""
    longest = max((run["seconds"] or 0 for run in runs), default=0)
    return next(
        ((size, name) for size, name in ((3600, " h"), (60, " min")) if longest >= 3 * size), (1, " s")
    )


def _caption(runs: Sequence[_Figures]) -> str:
    said = []
    for title, value, words, _ in ROWS:
        values = [each for each in map(value, runs) if each is not None]
        if values:
            said.append(f"{title}: {words(min(values))} to {words(max(values))}, last {words(values[-1])}.")
    return " ".join(said)
