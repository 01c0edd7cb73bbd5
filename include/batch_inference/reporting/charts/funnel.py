"""Builds the funnel chart: records in, rejected by reason, scored, published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_inference.common.formatting import format_count, format_share
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import BAD, GOOD, OTHER, Row, Segment, draw_rows

#: Maximum reasons that are shown; the rest share a row.
MAX_REASONS = 12


def build_funnel_chart(report: Mapping[str, Any]) -> Chart | None:
    """The funnel of the records, or None while nothing was counted."""
    records = report.get("records")
    if not records or not records["in"]:
        return None
    rows: list[tuple[str, int, str]] = [("In", records["in"], OTHER)]
    rows += [(f"Rejected: {reason}", number, BAD) for reason, number in _reasons(records)]
    if records.get("scored") is not None:
        rows.append(("Scored", records["scored"], GOOD))
    if report.get("output", {}).get("rows") is not None:
        rows.append(("Joined and published", report["output"]["rows"], GOOD))
    caption = _caption(report, records)
    return Chart(
        name="funnel",
        title="Records",
        caption=caption,
        svg=draw_rows(
            [_row(*row, whole=records["in"]) for row in rows],
            low=0,
            high=max(number for _, number, _ in rows),
            description=f"Records. {caption}",
        ),
    )


def _row(label: str, number: int, colour: str, *, whole: int) -> Row:
    share = format_share(number / whole)
    text = f"{number:,}" if number == whole else f"{number:,} ({share})"
    title = f"{label}\n{format_count(number, 'record')}, {share} of all"
    return Row(label=label, text=text, segments=[Segment(start=0, end=number, colour=colour, title=title)])


def _reasons(records: Mapping[str, Any]) -> list[tuple[str, int]]:
    found = sorted(records["rejected_by_reason"].items(), key=lambda item: (-item[1], item[0]))
    rest = found[MAX_REASONS:]
    if len(rest) > 1:
        return [
            *found[:MAX_REASONS],
            (format_count(len(rest), "other reason"), sum(number for _, number in rest)),
        ]
    return found


def _caption(report: Mapping[str, Any], records: Mapping[str, Any]) -> str:
    said = f"{format_count(records['in'], 'record')} came in, {records['rejected']:,} were rejected"
    if records.get("scored") is None:
        return f"{said}; nothing was scored yet."
    published = report.get("output", {}).get("rows")
    if published is None:
        return f"{said} and {records['scored']:,} scored; nothing was published yet."
    return f"{said}, {records['scored']:,} were scored and {published:,} published: every record is accounted for."
