"""Builds sparklines: line charts small enough for a table cell."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 120, 28, 3


def build_sparkline(values: Sequence[float]) -> str:
    """Points of an SVG polyline, `x,y x,y …`, in a box of WIDTH times HEIGHT; "" for fewer than two values.

    The y axis begins at zero, so that small differences look small.
    """
    if len(values) < 2:
        return ""
    most = max(values) or 1
    step = (WIDTH - 2 * MARGIN) / (len(values) - 1)
    room = HEIGHT - 2 * MARGIN
    return " ".join(
        f"{MARGIN + number * step:.1f},{HEIGHT - MARGIN - room * value / most:.1f}"
        for number, value in enumerate(values)
    )
