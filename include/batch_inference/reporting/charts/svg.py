"""Draws charts as SVG on the server: no script, and no style but the classes of style.css.

Horizontal positions are shares of the width, written as percentages; heights and text are pixels. So a chart fits any
width without scaling, and its text keeps the size of the page's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from batch_inference.common.formatting import format_number

#: Classes of style.css that colour marks.
GOOD, BAD, IDLE, WAITING, OTHER, TEXT = "good", "bad", "idle", "waiting", "other", "text"
#: Vertical place and height of a bar in its row, in pixels: the usual one, a thin one, and a thin one below.
FULL, THIN, BELOW = (0, 12), (4, 4), (14, 4)
#: Maximum characters of a label; the title, which is shown while the mouse points at a mark, has the whole text.
MAX_LABEL_LENGTH = 36
LINE_HEIGHT, ROW_GAP, AXIS_HEIGHT = 18, 10, 20
#: The least length of a mark, as a share of the width, and its least height in pixels, so that it is visible.
MIN_LENGTH, MIN_HEIGHT = 0.003, 1.0
_TIME_STEPS = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
)  # fmt: skip

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar, from `start` to `end` on the scale of the chart."""

    start: float
    end: float
    colour: str
    title: str
    band: tuple[int, int] = FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A horizontal bar under its label, with a text at the right; without a label it follows the row above closely."""

    label: str
    segments: Sequence[Segment]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A vertical bar from `start` to `end` on the horizontal scale; `value` is None where it is not known."""

    start: float
    end: float
    value: float | None
    colour: str
    title: str


class Canvas:
    """Collects the elements of one chart; `height` is what is used so far, in pixels."""

    def __init__(self) -> None:
        self.height = 0.0
        self._elements: list[Markup] = []

    def render(self, description: str) -> Markup:
        """The chart as an `svg` element; `description` is its text for people who cannot see it."""
        frame = Markup('<svg class="chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg>')
        return frame.format(clean_text(description), _round(self.height), Markup("").join(self._elements))

    def add_bar(
        self, start: float, end: float, y: float, height: float, *, colour: str, title: str, value: str
    ) -> None:
        """A rectangle from `start` to `end`, shares of the width; `value` goes to `data-value` in full precision."""
        length = max(end - start, MIN_LENGTH)
        self._add(
            '<rect class="{}" data-value="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
            colour, value, _percent(min(start, 1 - length)), _round(y), _percent(length), _round(height),
            clean_text(title),
        )  # fmt: skip

    def add_text(self, x: float, y: float, text: str, *, anchor: str = "start", soft: bool = False) -> None:
        """A line of text whose baseline is at `y`."""
        template = '<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>'
        self._add(template, "soft" if soft else "", _percent(x), _round(y), anchor, clean_text(text))

    def add_line(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """A thin line of the grid."""
        template = '<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>'
        self._add(template, _percent(x), _round(y), _percent(to_x), _round(to_y))

    def add_hover_area(self, start: float, end: float, y: float, height: float, title: str) -> None:
        """An invisible rectangle that shows a title: a low column is hard to point at."""
        self._add(
            '<rect class="hover" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
            _percent(start), _round(y), _percent(end - start), _round(height), clean_text(title),
        )  # fmt: skip

    def add_outline(
        self, points: Sequence[tuple[float, float]], y: float, height: float, *, colour: str
    ) -> None:
        """A dashed line through points, whose `x` and `y` are shares of the width and of `height` from below."""
        path = " ".join(f"{x * 1000:.1f},{(1 - share) * 1000:.1f}" for x, share in points)
        self._add(
            '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
            '<polyline class="outline {}" points="{}"/></svg>',
            _round(y), _round(height), colour, path,
        )  # fmt: skip

    def _add(self, template: str, *values: object) -> None:
        self._elements.append(Markup(template).format(*values))  # noqa: S704 - a literal; its values are escaped


def draw_rows(
    rows: Sequence[Row], *, low: float, high: float, ticks: Sequence[Tick] = (), description: str
) -> Markup:
    """Horizontal bars on a scale from `low` to `high`, the first row on top, with an axis below when it has ticks."""
    canvas = Canvas()
    position = build_scale(low, high)
    marks = Canvas()
    for number, row in enumerate(rows):
        if row.label:
            canvas.height += ROW_GAP if number else 0
            marks.add_text(0, canvas.height + 13, shorten_label(row.label))
            marks.add_text(1, canvas.height + 13, row.text, anchor="end")
            canvas.height += LINE_HEIGHT
        else:
            canvas.height += 3
        for segment in row.segments:
            if segment.start == segment.end:
                continue
            top, height = segment.band
            start, end = sorted((position(segment.start), position(segment.end)))
            value = f"{segment.end - segment.start:.12g}"
            marks.add_bar(
                start, end, canvas.height + top, height,
                colour=segment.colour, title=segment.title, value=value,
            )  # fmt: skip
        canvas.height += max((sum(segment.band) for segment in row.segments), default=FULL[1])
    bottom = canvas.height + 4
    for place, _ in ticks or ([(0.0, "")] if low < 0 else []):
        canvas.add_line(position(place), 0, position(place), bottom)
    canvas._elements += marks._elements
    if ticks:
        add_axis(canvas, [(position(place), text) for place, text in ticks])
    canvas.height += 2
    return canvas.render(description)


def add_columns(
    canvas: Canvas,
    columns: Sequence[Column],
    *,
    scale: Callable[[float], float],
    top: float,
    ticks: Sequence[Tick],
    height: int,
    outline: Sequence[tuple[float, float]] = (),
) -> None:
    """Vertical bars on a horizontal `scale` and a vertical one from 0 to `top`.

    `ticks` are of the vertical scale; `outline` are points `(x, y)` of a second series.
    """
    base = canvas.height + height
    top = top or 1.0
    for value, _ in ticks:
        y = base - height * value / top
        canvas.add_line(0, y, 1, y)
    for column in columns:
        start, end = scale(column.start), scale(column.end)
        if column.value:
            tall = max(height * column.value / top, MIN_HEIGHT)
            value_text = f"{column.value:.12g}"
            canvas.add_bar(
                start, end, base - tall, tall, colour=column.colour, title=column.title, value=value_text
            )
        canvas.add_hover_area(start, end, canvas.height, height, column.title)
    if outline:
        points = [(scale(x), y / top) for x, y in outline]
        canvas.add_outline(points, canvas.height, height, colour=TEXT)
    for value, text in ticks:
        if value:
            canvas.add_text(0, base - height * value / top - 3, text, soft=True)
    canvas.height = base


def add_axis(canvas: Canvas, ticks: Iterable[Tick]) -> None:
    """The labels of the horizontal axis; the place of each is a share of the width."""
    for place, text in ticks:
        anchor = "start" if place < 0.04 else "end" if place > 0.9 else "middle"
        canvas.add_text(place, canvas.height + 16, text, anchor=anchor, soft=True)
    canvas.height += AXIS_HEIGHT


def build_scale(low: float, high: float, *, gutter: float = 0.0) -> Callable[[float], float]:
    """The function from a number to a share of the width, of which the first `gutter` stays free."""
    width = high / 2 - low / 2  # halved, since a difference may overflow

    def scale(value: float) -> float:
        share = min(max((value / 2 - low / 2) / width, 0.0), 1.0) if width > 0 else 0.0
        return gutter + (1 - gutter) * share

    return scale


def choose_ticks(
    low: float, high: float, *, count: int = 4, text: Callable[[float], str] = format_number
) -> list[Tick]:
    """At most `count` + 1 round numbers from `low` to `high`, with their texts."""
    step = high / count - low / count
    if not (math.isfinite(step) and step > 0):
        return [(low, text(low))] if math.isfinite(low) else []
    magnitude = 10.0 ** math.floor(math.log10(step))
    step = magnitude * next((size for size in (1, 2, 2.5, 5, 10) if size * magnitude >= step * 0.999), 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]
    texts = [text(tick) for tick in ticks]
    if len(set(texts)) < len(texts):
        texts = [f"{tick:.12g}" for tick in ticks]
    return list(zip(ticks, texts, strict=True))


def choose_time_ticks(seconds: float, *, count: int = 4) -> list[Tick]:
    """At most `count` + 1 round durations from zero to `seconds`, all in one unit."""
    step = next((size for size in _TIME_STEPS if size * count >= seconds * 0.999), None)
    if step is None:
        step = 86_400 * math.ceil(seconds / count / 86_400)
    size, unit = (3600, "h") if step >= 3600 else (60, "min") if step >= 60 else (1, "s")
    count = math.floor(seconds / step + 1e-9)
    return [
        (number * step, f"{number * step / size:g} {unit}" if number else "0") for number in range(count + 1)
    ]


def clean_text(text: object) -> str:
    """A text in which control characters, which SVG does not allow, are `·`. Line breaks are kept."""
    return "".join(each if each.isprintable() or each == "\n" else "·" for each in str(text))


def shorten_label(text: str) -> str:
    """A label of at most `MAX_LABEL_LENGTH` characters: its begin and its end, so that similar ones differ."""
    if len(text) <= MAX_LABEL_LENGTH:
        return text
    end = MAX_LABEL_LENGTH // 3
    return f"{text[: MAX_LABEL_LENGTH - end - 1]}…{text[-end:]}"


def _percent(share: float) -> str:
    return f"{_round(share * 100)}%"


def _round(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
