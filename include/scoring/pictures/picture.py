"""One plot as plain data: what plotly.js draws, and the sentence that says the same to who cannot see it.

Colours are names of the page's own (`var(--good)`), which `draw.js` fills in when it draws, so that one plot serves
light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT, SOFT, LINE = "var(--text)", "var(--soft)", "var(--line)"
GOOD, BAD, IDLE, WAITING, OTHER = "var(--good)", "var(--bad)", "var(--idle)", "var(--waiting)", "var(--other)"
CLEAR = "rgba(0,0,0,0)"
#: Longest label beside an axis; the whole text stands in the hover and in the tables of the page.
LONGEST_LABEL = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot: `figure` is plotly's `data` and `layout`; `caption` tells in words what it shows."""

    name: str
    title: str
    caption: str
    figure: Mapping[str, Any]


def layout(*, height: int, **more: Any) -> dict[str, Any]:
    """The layout that all plots share."""
    axis = {
        "gridcolor": LINE,
        "zerolinecolor": LINE,
        "linecolor": LINE,
        "automargin": True,
        "fixedrange": True,
    }
    axes = {name: {**axis, **more.pop(name, {})} for name in ("xaxis", "yaxis")}
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8, "pad": 4},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": TEXT, "family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "var(--ground)", "bordercolor": LINE, "font": {"color": TEXT}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": False,
        "bargap": 0.35,
        **axes,
        **more,
    }


def titled(text: str) -> dict[str, Any]:
    """The title of an axis, as large as its numbers."""
    return {"text": text, "font": {"size": 13}}


def rows_layout(rows: int, **more: Any) -> dict[str, Any]:
    """The layout of horizontal bars, the first row on top; each row has room for its label."""
    yaxis = {"autorange": "reversed", "type": "category", "showgrid": False, **more.pop("yaxis", {})}
    return layout(height=60 + 34 * rows + (30 if more.get("showlegend") else 0), yaxis=yaxis, **more)


def literal(text: object, longest: int | None = None) -> str:
    """A text that plotly shows as it is: plotly reads some tags and entities as markup, so `&` and `<` are escaped.

    Control characters become `·`; with `longest` a longer text is cut.
    """
    shown = "".join(each if each.isprintable() else "·" for each in str(text))
    if longest is not None and len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def labels(texts: Sequence[object]) -> list[str]:
    """Labels of one axis: short, and different even where the texts begin alike, since equal ones share a place."""
    seen: dict[str, int] = {}
    made = []
    for text in texts:
        label = literal(text, LONGEST_LABEL)
        seen[label] = seen.get(label, 0) + 1
        made.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return made
