"""Builds the timeline chart: when each instance was provisioned, ran, worked and was idle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batch_inference.common.formatting import format_count, format_duration
from batch_inference.reporting.charts.chart import (
    GOOD,
    IDLE,
    OTHER,
    WAITING,
    Chart,
    build_axis_title,
    build_bar_layout,
    escape_label,
)

#: Maximum rows of one stage; the labels of a larger cluster say how many instances it has.
MAX_INSTANCES = 16

PROVISIONING, IDLING, WORKING, RUNNING = "Provisioning", "Idle", "Working", "Running"
HOVER_TEXTS = {
    PROVISIONING: "provisioning, not billed,",
    IDLING: "idle, billed,",
    WORKING: "working",
    RUNNING: "running, billed,",
}
COLOURS = {PROVISIONING: WAITING, IDLING: IDLE, WORKING: GOOD, RUNNING: OTHER}


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """A bar of the timeline: one state of an instance, from start to end in epoch seconds."""

    row: str
    kind: str
    start: float
    end: float


def build_timeline_chart(report: Mapping[str, Any]) -> Chart | None:
    """A row for each instance, or None while there is no job. The bar of a running job ends at `as_of`."""
    stages = [stage for stage in report.get("stages", ()) if stage.get("created_at") is not None]
    if not stages:
        return None
    pieces = [piece for stage in stages for piece in _build_bars(stage, report.get("as_of"))]
    zero = min(stage["created_at"] for stage in stages)
    rows = list(dict.fromkeys(piece.row for piece in pieces))
    if not rows:
        return None
    figure = {
        "data": [
            _trace(kind, [piece for piece in pieces if piece.kind == kind], zero)
            for kind in COLOURS
            if any(piece.kind == kind for piece in pieces)
        ],
        "layout": build_bar_layout(
            len(rows),
            barmode="overlay",
            showlegend=True,
            # Rows in the order of the stages, not of the traces.
            yaxis={"categoryorder": "array", "categoryarray": rows},
            xaxis={
                "title": build_axis_title("seconds since the first job was created"),
                "rangemode": "tozero",
            },
        ),
    }
    return Chart(
        name="timeline",
        title="Timeline",
        caption=" ".join([*_sentences(stages), "Provisioning is not billed."]),
        figure=figure,
    )


def _build_bars(stage: Mapping[str, Any], as_of: float | None) -> Iterator[TimelineBar]:
    for row, job, worked in _rows(stage):
        created, started = job["created_at"], job.get("started_at")
        if created is None:
            continue
        ended = job.get("ended_at") if job.get("ended_at") is not None else as_of
        until = started if started is not None else ended
        if until is not None:
            yield TimelineBar(row, PROVISIONING, created, until)
        if started is None or ended is None:
            continue
        if worked is None:
            yield TimelineBar(row, RUNNING, started, ended)
            continue
        # The clocks of instances and AWS differ a little; bars are clipped to the billed time.
        first, last = (min(max(moment, started), ended) for moment in worked)
        yield TimelineBar(row, IDLING, started, first)
        yield TimelineBar(row, WORKING, first, last)
        yield TimelineBar(row, IDLING, last, ended)


def _rows(stage: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any], tuple[float, float] | None]]:
    """For each instance of a stage its label, its job, and when it worked (None when unknown)."""
    jobs = [job for job in stage.get("jobs") or [stage] for _ in range(job["instance_count"] or 1)]
    name, instances = stage["stage"], stage["instance_count"] or 1
    spans: Sequence[Mapping[str, Any]] = stage.get("instances") or ()
    worked = {number: (span["from"], span["to"]) for number, span in enumerate(spans, 1)}
    known = len(spans) == instances
    shown = min(instances, MAX_INSTANCES)
    for number in range(1, shown + 1):
        label = (
            name if instances == 1 else f"{name} {number}" + (f" of {instances}" if shown < instances else "")
        )
        yield label, jobs[number - 1], worked[number] if known else None


def _trace(kind: str, pieces: Sequence[TimelineBar], zero: float) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": kind,
        "y": [escape_label(piece.row) for piece in pieces],
        "base": [round(piece.start - zero, 3) for piece in pieces],
        "x": [round(piece.end - piece.start, 3) for piece in pieces],
        "marker": {"color": COLOURS[kind]},
        "customdata": [format_duration(piece.end - piece.start) for piece in pieces],
        "hovertemplate": f"%{{y}}<br>{HOVER_TEXTS[kind]} for %{{customdata}}<extra></extra>",
    }


def _sentences(stages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for stage in stages:
        name = stage["stage"].capitalize()
        where = format_count(stage["instance_count"] or 1, "instance")
        if stage.get("jobs"):
            where += f" in {format_count(len(stage['jobs']), 'job')}"
        if stage.get("started_at") is None:
            yield f"{name} waits for {where}."
        elif stage.get("ended_at") is None:
            yield f"{name} runs on {where}."
        elif stage.get("idle_share") is None:
            yield f"{name} ran {format_duration(stage['running_seconds'])} on {where}; busy time unknown."
        else:
            ran = format_duration(stage["running_seconds"])
            yield f"{name} ran {ran} on {where}, idle for {stage['idle_share']:.0%} of what is billed."
