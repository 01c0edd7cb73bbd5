"""Builds the distribution charts: the predictions of the run, compared with those of the previous run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count
from batch_inference.reporting.charts.chart import (
    GOOD,
    MUTED,
    OTHER,
    Chart,
    build_axis_title,
    build_labels,
    build_layout,
    escape_label,
)

#: Maximum values of a text prediction that are shown, most frequent first.
MAX_VALUES = 20


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
        draw = _draw_numbers if profile["kind"] == "number" else _draw_texts
        if traces := draw(profile, earlier):
            of_x, of_y = _AXES[profile["kind"]]
            layout = build_layout(
                height=300 if profile["kind"] == "number" else 320,
                barmode="group",
                showlegend=len(traces) > 1,
                xaxis={"title": build_axis_title(escape_label(column)), "showgrid": False, **of_x},
                yaxis={"title": build_axis_title("share of rows"), "tickformat": ".0%", **of_y},
            )
            yield Chart(
                name=f"predictions-{number}",
                title=f"Predictions: {column}",
                caption=_caption(column, profile, earlier),
                figure={"data": traces, "layout": layout},
            )


#: Settings of the axes x and y by kind of prediction.
_AXES = {"number": ({}, {"rangemode": "tozero"}), "text": ({"type": "category"}, {"color": MUTED})}


def _list_runs(
    profile: Mapping[str, Any], before: Mapping[str, Any] | None
) -> list[tuple[Mapping[str, Any], str, str]]:
    """The profile, name and colour of each run, the previous one first."""
    earlier = [] if before is None else [(before, "Previous run", OTHER)]
    return [*earlier, (profile, "This run", GOOD)]


def _draw_numbers(profile: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if not profile.get("histogram"):
        return []
    return [
        _histogram_trace(each, name, colour, filled=each is profile)
        for each, name, colour in _list_runs(profile, before)
        if each.get("histogram")
    ]


def _draw_texts(profile: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    values = list(profile["values"])[:MAX_VALUES]
    runs = _list_runs(profile, before) if values else []
    return [_bar_trace(values, build_labels(values), *run) for run in runs]


def _histogram_trace(profile: Mapping[str, Any], name: str, colour: str, *, filled: bool) -> dict[str, Any]:
    """A histogram as an outline: the share of rows in each bin, so that runs of different size compare."""
    edges, counts = profile["histogram"]["edges"], profile["histogram"]["counts"]
    whole = sum(counts) or 1
    if edges[0] == edges[-1]:
        # A single value: a bin of some width, so that it is visible.
        edges = [edges[0] - 0.5, edges[0] + 0.5]
    shares = [number / whole for number in counts]
    xs = [edge for edge in edges for _ in (0, 1)]
    ys = [0.0, *(share for share in shares for _ in (0, 1)), 0.0]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": xs,
        "y": ys,
        "line": {"color": colour, "width": 2, "dash": "solid" if filled else "dot"},
        **({"fill": "tozeroy", "fillcolor": "var(--good-soft)"} if filled else {}),
        "hovertemplate": f"{name}<br>%{{x:.6~g}}: %{{y:.2%}} of rows<extra></extra>",
    }


def _bar_trace(
    values: Sequence[str], shown: Sequence[str], profile: Mapping[str, Any], name: str, colour: str
) -> dict[str, Any]:
    whole = profile["count"] or 1
    return {
        "type": "bar",
        "name": name,
        "x": list(shown),
        "y": [profile["values"].get(value, 0) / whole for value in values],
        "marker": {"color": colour},
        "hovertemplate": f"%{{x}}<br>{name}: %{{y:.2%}} of rows<extra></extra>",
    }


def _caption(column: str, profile: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    if not profile["count"]:
        return f"{column}: no row has a value."
    missing = f"; {format_count(profile['nulls'], 'row')} without a value" if profile["nulls"] else ""
    if profile["kind"] == "text":
        frequent = next(iter(profile["values"]), None)
        different = format_count(profile.get("distinct", len(profile["values"])), "value")
        return f"{column}: {different}, most often {frequent}{missing}."
    said = f"{column}: mean {profile['mean']:.4g}, from {profile['min']:.4g} to {profile['max']:.4g}{missing}"
    if before is None or not before["count"]:
        return f"{said}. There is no previous run."
    return f"{said}. The previous run had mean {before['mean']:.4g}, from {before['min']:.4g} to {before['max']:.4g}."
