"""Defines a chart: an SVG, its legend, and a caption for people who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart; `svg` is safe markup, `caption` says it in words, `legend` has a text and a class for each colour."""

    name: str
    title: str
    caption: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
