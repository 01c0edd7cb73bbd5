"""The figures of `make bench-sizing`, rendered as Markdown tables and as SVG pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.benchmarks.sizing_nights import Calibration, Night


@dataclass(frozen=True, slots=True)
class Row:
    """The worst over all rates of one input and assignment, in dollars over the joint lower bound.

    `known` is that of a plan that knows the rates, `first` of one that knows nothing. `hosts` and `instances` are those
    of the first. `missed_promises` counts the runs that a plan promised in time and that were late.
    """

    layout: str
    assignment: str
    hosts: int
    instances: int
    known: float
    first: float
    naive: float
    missed_promises: int
    layout_mode: str = ""


def render_summary(rows: Sequence[Row], rows_without_preprocess: Sequence[Row]) -> str:
    """One line for each input, as Markdown: the naive run and the plans, worst of the assignments, over the bound."""
    lines = [
        "| input | naive | known rates | first run | without preprocessing | naive | known rates | first run |",
        "|---|--:|--:|--:|---|--:|--:|--:|",
    ]
    for layout in dict.fromkeys(row.layout for row in [*rows, *rows_without_preprocess]):
        cells = []
        for found in (rows, rows_without_preprocess):
            own = [row for row in found if row.layout == layout]
            if not own:
                cells.append("| – | – | – ")
                continue
            worst = max(own, key=lambda row: row.known)
            first, naive = max(row.first for row in own), next(row.naive for row in own)
            named = f" ({worst.assignment})" if worst.known > 1.05 else ""
            mode = f"| {worst.layout_mode} " if found is rows_without_preprocess else ""
            cells.append(f"{mode}| {naive:.2f} | {worst.known:.3f}{named} | {first:.3f} ")
        lines.append(f"| {layout} {''.join(cells)}|")
    return "\n".join(lines)


def render_calibration(calibrations: Sequence[Calibration]) -> str:
    """The calibrations as Markdown."""
    lines = [
        "| nights | number | no longer than promised | with a promised deadline | in time | cost ÷ bound |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {each.name} | {each.nights:,} | {each.promises_kept:.1%} | {each.deadlines:,} | "
        f"{each.deadlines_kept:.1%} | {each.mean_ratio:.2f} |"
        for each in calibrations
    ]
    return "\n".join(lines)


def render_first_nights(inputs: Mapping[str, Sequence[Night]]) -> str:
    """Of each night the cost over the bound, and by how much it took longer than expected, as Markdown."""
    count = max(map(len, inputs.values()))
    lines = [
        f"| input | {' | '.join(f'night {night}' for night in range(count))} |",
        f"|---{'|--:' * count}|",
    ]
    for name, nights in inputs.items():
        cells = [
            "refused"
            if night.refusal
            else f"{night.dollars / night.bound_dollars:.2f}{', late' if night.is_late else ''} "
            f"({night.seconds / night.expected_seconds - 1:+.0%})"
            for night in nights
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


STYLE = (
    "<style>text{fill:#424a53}.small{font-size:9px}.naive{fill:#b4541a}.plan{fill:#1a7f5a}.direct{fill:#3b6ea8}"
    ".band{fill:#3b6ea8;opacity:.18}.line{fill:none;stroke:#3b6ea8;stroke-width:1.5}.late{fill:#b4541a}"
    ".axis{stroke:#9aa2ab;stroke-width:1}.limit{stroke:#b4541a;stroke-dasharray:4 3}</style>"
)
LEFT, BAR, HEIGHT, LONGEST, WIDTH = 240, 9, 46, 6.0, 800


def render_svg(rows: Sequence[Row], rows_without_preprocess: Sequence[Row]) -> str:
    """Runs with known rates as multiples of the bound, worst of the assignments; bars end at 6, with their number."""
    scale = (WIDTH - LEFT - 60) / LONGEST
    parts = []
    layouts = list(dict.fromkeys(row.layout for row in rows))
    for number, layout in enumerate(layouts):
        own = [row for row in rows if row.layout == layout]
        other = [row for row in rows_without_preprocess if row.layout == layout]
        top = 50 + number * HEIGHT
        parts.append(f'<text x="{LEFT - 10}" y="{top + 22}" text-anchor="end">{layout}</text>')
        bars = (
            (own[0].naive, "naive"),
            (max(row.known for row in own), "plan"),
            (max((row.known for row in other), default=0.0), "direct"),
        )
        for place, (value, kind) in enumerate(bars):
            if value:
                bar, y = min(value, LONGEST) * scale, top + place * (BAR + 2)
                parts.append(
                    f'<rect x="{LEFT}" y="{y}" width="{bar:.1f}" height="{BAR}" class="{kind}"/>'
                    f'<text x="{LEFT + bar + 5:.1f}" y="{y + BAR - 1}" class="small">{value:.2f}</text>'
                )
    bottom = 50 + len(layouts) * HEIGHT
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
        f'font-size="12"><rect width="{WIDTH}" height="{bottom + 6}" fill="#fff"/>{STYLE}'
        f'<text x="{LEFT}" y="14">Dollars as a multiple of the joint lower bound (dotted)</text>{legend}'
        f"{''.join(parts)}"
        f'<line x1="{LEFT + scale:.1f}" x2="{LEFT + scale:.1f}" y1="42" y2="{bottom}" stroke="#424a53" '
        'stroke-dasharray="2 3"/></svg>\n'
    )


PANEL_WIDTH, PANEL_HEIGHT, PANEL_LEFT, PANEL_TOP = 380, 190, 44, 52


def render_curves(curves: Mapping[str, Sequence[Night]]) -> str:
    """A panel for each pipeline: minutes that each night took, what its plan expected, and what it promised."""
    rows = -(-len(curves) // 2)
    width, height = 2 * PANEL_WIDTH + 20, PANEL_TOP + rows * PANEL_HEIGHT
    panels = "".join(
        f'<g transform="translate({number % 2 * (PANEL_WIDTH + 10)},{PANEL_TOP + number // 2 * PANEL_HEIGHT})">'
        f"{_render_panel(name, nights)}</g>"
        for number, (name, nights) in enumerate(curves.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="#fff"/>{STYLE}'
        f'<text x="{PANEL_LEFT}" y="16">Minutes of each night: a dot is what it took (red: late), the line what its '
        "plan expected,</text>"
        f'<text x="{PANEL_LEFT}" y="32">the band what it said of 95 nights in 100; the dashed line is the deadline'
        f"</text>{panels}</svg>\n"
    )


def _render_panel(name: str, nights: Sequence[Night]) -> str:
    plot_width, plot_height = PANEL_WIDTH - PANEL_LEFT - 6, PANEL_HEIGHT - 48
    most = max(max(night.seconds, night.promised_seconds) for night in nights) * 1.05

    def place(night: float, seconds: float) -> str:
        x = PANEL_LEFT + (night + 0.5) / len(nights) * plot_width
        return f"{x:.1f},{18 + plot_height * (1 - seconds / most):.1f}"

    line = " ".join(place(night.night, night.expected_seconds) for night in nights)
    band = f"{line} " + " ".join(place(night.night, night.promised_seconds) for night in reversed(nights))
    limit = place(-0.5, nights[0].deadline_seconds).split(",")[1]
    dots = "".join(
        '<circle cx="{}" cy="{}" r="2.6" class="{}"/>'.format(
            *place(night.night, night.seconds).split(","), "late" if night.is_late else "plan"
        )
        for night in nights
    )
    step = next(step for step in (10, 20, 30, 60, 120, 240, 600) if most / 60 / step <= 6)
    ticks = "".join(
        f'<text x="{PANEL_LEFT - 6}" y="{float(place(0, minutes * 60).split(",")[1]) + 3:.1f}" class="small" '
        f'text-anchor="end">{minutes}</text>'
        for minutes in range(0, int(most / 60) + 1, step)
    )
    nights_axis = "".join(
        f'<text x="{place(night, 0).split(",")[0]}" y="{18 + plot_height + 12}" class="small" text-anchor="middle">'
        f"{night}</text>"
        for night in range(0, len(nights), 5)
    )
    bottom = 18 + plot_height
    return (
        f'<text x="{PANEL_LEFT}" y="10">{name}</text><polygon points="{band}" class="band"/>'
        f'<polyline points="{line}" class="line"/>'
        f'<line x1="{PANEL_LEFT}" x2="{PANEL_LEFT + plot_width}" y1="{limit}" y2="{limit}" class="limit"/>'
        f'<line x1="{PANEL_LEFT}" x2="{PANEL_LEFT + plot_width}" y1="{bottom}" y2="{bottom}" class="axis"/>'
        f"{dots}{ticks}{nights_axis}"
    )


COLOURS = ("#b4541a", "#1a7f5a", "#3b6ea8", "#7a4b9c", "#a08a1c", "#6b7480")


def render_exploration(curves: Mapping[str, Sequence[float]]) -> str:
    """For each model a line: the cost of each night's settings as a multiple of the best of the grid."""
    left, top, width, height, right = 44, 44, 520, 240, 130
    nights = max(map(len, curves.values()))
    most = max(max(values) for values in curves.values()) * 1.05

    def place(night: float, ratio: float) -> tuple[float, float]:
        return left + night / (nights - 1) * width, top + height * (1 - ratio / most)

    parts = []
    for number, (name, values) in enumerate(curves.items()):
        colour, label = COLOURS[number % len(COLOURS)], top + 14 + 18 * number
        points = " ".join("{:.1f},{:.1f}".format(*place(*each)) for each in enumerate(values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            f'<rect x="{left + width + 16}" y="{label - 9}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{left + width + 31}" y="{label}">{name}</text>'
        )
    parts += [
        f'<text x="{place(night, 0)[0]:.1f}" y="{top + height + 14}" class="small" text-anchor="middle">{night}</text>'
        for night in range(nights)
    ]
    parts += [
        f'<text x="{left - 6}" y="{place(0, ratio)[1] + 3:.1f}" class="small" text-anchor="end">{ratio}</text>'
        for ratio in range(int(most) + 1)
    ]
    one = place(0, 1.0)[1]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + right} {top + height + 24}" '
        f'font-family="sans-serif" font-size="12"><rect width="{left + width + right}" height="{top + height + 24}" '
        f'fill="#fff"/>{STYLE}<text x="{left}" y="16">Cost of each night\'s settings as a multiple of the best of the '
        f'grid (dotted)</text><line x1="{left}" x2="{left + width}" y1="{one:.1f}" y2="{one:.1f}" stroke="#424a53" '
        f'stroke-dasharray="2 3"/><line x1="{left}" x2="{left + width}" y1="{top + height}" y2="{top + height}" '
        f'class="axis"/>{"".join(parts)}</svg>\n'
    )
