"""The rows of `make bench-sizing`, rendered as Markdown tables and as an SVG chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """The worst over all rates of one layout and assignment, in instance-seconds.

    `expected_instance_seconds` is the lower bound, or for a hash the expected cost of equal shards on the plan's n
    instances at random: contiguous and in turn judge the choice of n, hash what hashing adds to it. `layout_mode` is
    the input layout without preprocessing.
    """

    layout: str
    assignment: str
    instances: int
    planned_instance_seconds: float
    naive_instance_seconds: float
    lower_bound_instance_seconds: float
    expected_instance_seconds: float
    missed_deadlines: int
    layout_mode: str = ""

    @property
    def ratio(self) -> float:
        """Plan over the bound, or for a hash over the expectation."""
        return self.planned_instance_seconds / self.expected_instance_seconds


def render_table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    modes = any(row.layout_mode for row in rows)
    head = (
        f"| input |{' layout |' if modes else ''} assignment | n | plan | naive | bound | plan ÷ bound | "
        "plan ÷ expected | naive ÷ bound | deadline |"
    )
    lines = [head, f"|---|{'---|' if modes else ''}---|--:|--:|--:|--:|--:|--:|--:|---|"]
    for row in rows:
        kept = "met" if not row.missed_deadlines else f"missed {row.missed_deadlines} times"
        lines.append(
            f"| {row.layout} |{f' {row.layout_mode} |' if modes else ''} {row.assignment} | {row.instances} | "
            f"{row.planned_instance_seconds:,.0f} | {row.naive_instance_seconds:,.0f} | "
            f"{row.lower_bound_instance_seconds:,.0f} | "
            f"{row.planned_instance_seconds / row.lower_bound_instance_seconds:.3f} | {row.ratio:.3f} | "
            f"{row.naive_instance_seconds / row.lower_bound_instance_seconds:.2f} | {kept} |"
        )
    return "\n".join(lines)


def render_summary(rows: Sequence[Row], rows_without_preprocess: Sequence[Row]) -> str:
    """One line for each input, as Markdown: the naive run and the plans, each over what it is held against.

    That is the lower bound, and for a hash what equal shards thrown at random are expected to cost.
    """
    lines = [
        "| input | naive | contiguous | in turn | hash | without preprocessing | contiguous | in turn | hash |",
        "|---|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for layout in dict.fromkeys(row.layout for row in rows):
        own = [row for row in rows if row.layout == layout]
        other = [row for row in rows_without_preprocess if row.layout == layout]
        naive = next(
            row.naive_instance_seconds / row.lower_bound_instance_seconds
            for row in own
            if row.assignment == "in turn"
        )
        lines.append(
            f"| {layout} | {naive:.2f} | {' | '.join(f'{row.ratio:.3f}' for row in own)} | {other[0].layout_mode} | "
            f"{' | '.join(f'{row.ratio:.3f}' for row in other)} |"
        )
    return "\n".join(lines)


LEFT, BAR, HEIGHT, GAP, LONGEST, WIDTH = 215, 9, 46, 18, 6.0, 800


def render_svg(rows: Sequence[Row], rows_without_preprocess: Sequence[Row]) -> str:
    """Runs as multiples of the bound, objects handed out in turn, as an SVG; bars end at 6, with their number."""
    scale = (WIDTH - LEFT - 60) / LONGEST
    parts = []
    shown = [
        (row, other)
        for row, other in zip(rows, rows_without_preprocess, strict=True)
        if row.assignment == other.assignment == "in turn"
    ]
    for number, (row, other) in enumerate(shown):
        top = 50 + number * HEIGHT
        parts.append(f'<text x="{LEFT - 10}" y="{top + 22}" text-anchor="end">{row.layout}</text>')
        bars = (
            (row.naive_instance_seconds / row.lower_bound_instance_seconds, "naive"),
            (row.planned_instance_seconds / row.lower_bound_instance_seconds, "plan"),
            (other.planned_instance_seconds / other.lower_bound_instance_seconds, "direct"),
        )
        for place, (value, kind) in enumerate(bars):
            bar, y = min(value, LONGEST) * scale, top + place * (BAR + 2)
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{bar:.1f}" height="{BAR}" class="{kind}"/>')
            parts.append(f'<text x="{LEFT + bar + 5:.1f}" y="{y + BAR - 1}" class="small">{value:.2f}</text>')
    bottom = 50 + len(shown) * HEIGHT
    legend = "".join(
        f'<rect x="{LEFT + at}" y="22" width="10" height="10" class="{kind}"/>'
        f'<text x="{LEFT + at + 15}" y="31">{text}</text>'
        for at, kind, text in (
            (0, "naive", "naive"),
            (80, "plan", "planned, with preprocessing"),
            (275, "direct", "planned, without"),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 6}" font-family="sans-serif" '
        'font-size="12">'
        f'<rect width="{WIDTH}" height="{bottom + 6}" fill="#fff"/>'
        "<style>text{fill:#424a53}.small{font-size:9px}.naive{fill:#b4541a}.plan{fill:#1a7f5a}.direct{fill:#3b6ea8}"
        "</style>"
        f'<text x="{LEFT}" y="14">Instance-seconds as a multiple of the lower bound (dotted)</text>{legend}'
        f"{''.join(parts)}"
        f'<line x1="{LEFT + scale:.1f}" x2="{LEFT + scale:.1f}" y1="42" y2="{bottom}" stroke="#424a53" '
        'stroke-dasharray="2 3"/></svg>\n'
    )
