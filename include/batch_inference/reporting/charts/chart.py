"""Defines a chart as plain data for plotly.js, with a caption for people who cannot see it.

Colours are CSS variables (`var(--good)`), which `draw.js` resolves, so that a chart fits light and dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT, MUTED, LINE = "var(--text)", "var(--soft)", "var(--line)"
GOOD, BAD, IDLE, WAITING, OTHER = "var(--good)", "var(--bad)", "var(--idle)", "var(--waiting)", "var(--other)"
TRANSPARENT = "rgba(0,0,0,0)"
#: Maximum characters of an axis label; hover texts and the tables of the page have the whole text.
MAX_LABEL_LENGTH = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart: `figure` is plotly's `data` and `build_layout`; `caption` describes it in words."""

    name: str
    title: str
    caption: str
    figure: Mapping[str, Any]


#: The horizontal axis of bars that end with their numbers.
HIDDEN_AXIS = {"showticklabels": False, "showgrid": False, "linecolor": TRANSPARENT}


def build_layout(*, height: int, **overrides: Any) -> dict[str, Any]:
    """The layout that all charts share, with overrides."""
    axis = {
        "gridcolor": LINE,
        "zerolinecolor": LINE,
        "linecolor": LINE,
        "automargin": True,
        "fixedrange": True,
    }
    axes = {
        name: {**axis, **overrides.pop(name, {})}
        for name in {"xaxis", "yaxis", *(key for key in overrides if key[:5] in ("xaxis", "yaxis"))}
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8, "pad": 4},
        "paper_bgcolor": TRANSPARENT,
        "plot_bgcolor": TRANSPARENT,
        "font": {"color": TEXT, "family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "var(--ground)", "bordercolor": LINE, "font": {"color": TEXT}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": False,
        "bargap": 0.35,
        **axes,
        **overrides,
    }


def build_axis_title(text: str) -> dict[str, Any]:
    """The title of an axis, in the size of its numbers."""
    return {"text": text, "font": {"size": 13}}


def build_bar_layout(row_count: int, **overrides: Any) -> dict[str, Any]:
    """The layout of horizontal bars, the first row on top; each row has room for its label."""
    yaxis = {"autorange": "reversed", "type": "category", "showgrid": False, **overrides.pop("yaxis", {})}
    return build_layout(
        height=60 + 34 * row_count + (30 if overrides.get("showlegend") else 0), yaxis=yaxis, **overrides
    )


def build_bar_trace(
    labels: Sequence[object],
    values: Sequence[float],
    texts: Sequence[str],
    colour: str | Sequence[str],
    *,
    hover: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Horizontal bars with a text at the end of each; `hover` may show the whole label, and its note."""
    return {
        "type": "bar",
        "orientation": "h",
        "y": build_labels(labels),
        "x": list(values),
        "marker": {"color": colour},
        "text": list(texts),
        "textposition": "outside",
        "textangle": 0,
        "cliponaxis": False,
        "customdata": [[escape_label(label), note] for label, note in zip(labels, notes, strict=True)],
        "hovertemplate": f"{hover}<extra></extra>",
    }


def escape_label(text: object, max_length: int | None = None) -> str:
    """Escape a text for plotly, which reads some tags and entities as markup.

    Control characters become `·`; a text longer than `max_length` is truncated.
    """
    shown = "".join(each if each.isprintable() else "·" for each in str(text))
    if max_length is not None and len(shown) > max_length:
        shown = shown[: max_length - 1] + "…"
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def build_labels(texts: Sequence[object]) -> list[str]:
    """Truncated, unique labels of one axis; plotly draws equal labels at one position."""
    seen: dict[str, int] = {}
    axis_labels = []
    for text in texts:
        label = escape_label(text, MAX_LABEL_LENGTH)
        seen[label] = seen.get(label, 0) + 1
        axis_labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return axis_labels
