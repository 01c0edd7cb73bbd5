"""What the model predicted, over what it predicted in the run before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.scoring.messages import count
from include.scoring.pictures.picture import GOOD, OTHER, SOFT, Picture, labels, layout, literal, titled

#: Values of a text prediction with bars of their own, most frequent first.
MOST_VALUES = 20


def distributions(report: Mapping[str, Any]) -> Iterator[Picture]:
    """One plot for each prediction column; `report["quality"]` has the profiles, as `described` gave them.

    `quality["predictions"]` maps columns to them, `quality["previous"]["predictions"]` to those of the run before.
    """
    quality = report.get("quality") or {}
    before = (quality.get("previous") or {}).get("predictions") or {}
    for number, (column, profile) in enumerate((quality.get("predictions") or {}).items()):
        earlier = before.get(column)
        if earlier is not None and earlier["kind"] != profile["kind"]:
            earlier = None
        draw = _numbers if profile["kind"] == "number" else _texts
        if figure := draw(column, profile, earlier):
            yield Picture(
                name=f"predictions-{number}",
                title=f"Predictions: {column}",
                caption=_caption(column, profile, earlier),
                figure=figure,
            )


def _numbers(
    column: str, profile: Mapping[str, Any], before: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    if not profile.get("histogram"):
        return None
    traces = []
    if before is not None and before.get("histogram"):
        traces.append(_steps(before, "Run before", OTHER, filled=False))
    traces.append(_steps(profile, "This run", GOOD, filled=True))
    return {
        "data": traces,
        "layout": layout(
            height=300,
            showlegend=len(traces) > 1,
            xaxis={"title": titled(literal(column)), "showgrid": False},
            yaxis={"title": titled("share of rows"), "tickformat": ".0%", "rangemode": "tozero"},
        ),
    }


def _steps(profile: Mapping[str, Any], name: str, colour: str, *, filled: bool) -> dict[str, Any]:
    """A histogram as an outline: the share of rows in each bin, so that runs of different size compare."""
    edges, counts = profile["histogram"]["edges"], profile["histogram"]["counts"]
    whole = sum(counts) or 1
    if edges[0] == edges[-1]:
        # One value only: a bin of some width, so that there is something to see.
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


def _texts(
    column: str, profile: Mapping[str, Any], before: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    values = list(profile["values"])[:MOST_VALUES]
    if not values:
        return None
    shown = labels(values)
    traces = [_bars(values, shown, profile, "This run", GOOD)]
    if before is not None:
        traces.insert(0, _bars(values, shown, before, "Run before", OTHER))
    return {
        "data": traces,
        "layout": layout(
            height=320,
            barmode="group",
            showlegend=len(traces) > 1,
            xaxis={"title": titled(literal(column)), "type": "category", "showgrid": False},
            yaxis={"title": titled("share of rows"), "tickformat": ".0%", "color": SOFT},
        ),
    }


def _bars(
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
    missing = f"; {count(profile['nulls'], 'row')} without a value" if profile["nulls"] else ""
    if profile["kind"] == "text":
        frequent = next(iter(profile["values"]), None)
        different = count(profile.get("distinct", len(profile["values"])), "value")
        return f"{column}: {different}, most often {frequent}{missing}."
    said = f"{column}: mean {profile['mean']:.4g}, from {profile['min']:.4g} to {profile['max']:.4g}{missing}"
    if before is None or not before["count"]:
        return f"{said}. There is no earlier run to compare with."
    return f"{said}. The run before had mean {before['mean']:.4g}, from {before['min']:.4g} to {before['max']:.4g}."
