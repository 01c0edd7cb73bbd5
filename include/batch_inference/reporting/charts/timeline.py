"""Builds the timeline chart: when each instance was provisioned, ran, worked and was idle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batch_inference.common.formatting import format_count, format_duration, format_share
from batch_inference.reporting.charts.chart import Chart
from batch_inference.reporting.charts.svg import (
    FULL,
    GOOD,
    IDLE,
    OTHER,
    THIN,
    WAITING,
    Row,
    Segment,
    choose_time_ticks,
    draw_rows,
)

#: Maximum rows of one stage; the label of a larger cluster says how many instances it has.
MAX_INSTANCES = 16

PROVISIONING, IDLING, WORKING, RUNNING = "Provisioning", "Idle", "Working", "Running"
HOVER_TEXTS = {
    PROVISIONING: "provisioning, not billed,",
    IDLING: "idle, billed,",
    WORKING: "working",
    RUNNING: "running, billed,",
}
COLOURS = {PROVISIONING: WAITING, IDLING: IDLE, WORKING: GOOD, RUNNING: OTHER}


def build_timeline_chart(report: Mapping[str, Any]) -> Chart | None:
    """A row for each instance, or None while there is no job. The bar of a running job ends at `as_of`."""
    stages = [stage for stage in report.get("stages", ()) if stage.get("created_at") is not None]
    if not stages:
        return None
    zero = min(stage["created_at"] for stage in stages)
    rows = [row for stage in stages for row in _build_rows(stage, zero, report.get("as_of"))]
    segments = [segment for row in rows for segment in row.segments]
    if not segments:
        return None
    end = max(segment.end for segment in segments)
    used = {segment.colour for segment in segments}
    caption = " ".join([*_sentences(stages), "Provisioning is not billed."])
    return Chart(
        name="timeline",
        title="Timeline",
        caption=caption,
        svg=draw_rows(
            rows, low=0, high=end, ticks=choose_time_ticks(end), description=f"Timeline. {caption}"
        ),
        legend=tuple((kind, colour) for kind, colour in COLOURS.items() if colour in used),
    )


def _build_rows(stage: Mapping[str, Any], zero: float, as_of: float | None) -> Iterator[Row]:
    """A row for each instance; the first one has the label of the stage."""
    instances = stage["instance_count"] or 1
    shown = min(instances, MAX_INSTANCES)
    heading = stage["stage"]
    if shown < instances:
        heading += f", {shown} of {instances:,} instances"
    elif instances > 1:
        heading += f", {instances} instances"
    running = stage.get("running_seconds")
    text = "" if running is None else f"ran {format_duration(running)}"
    for name, job, worked in _instances(stage, shown):
        segments = [
            Segment(
                start=start - zero,
                end=end - zero,
                colour=COLOURS[kind],
                title=f"{name}\n{HOVER_TEXTS[kind]} for {format_duration(end - start)}",
                band=THIN if kind == PROVISIONING else FULL,
            )
            for kind, start, end in _list_states(job, worked, as_of)
            if end > start
        ]
        if segments:
            yield Row(label=heading, segments=segments, text=text)
            heading = text = ""


def _list_states(
    job: Mapping[str, Any], worked: tuple[float, float] | None, as_of: float | None
) -> Iterator[tuple[str, float, float]]:
    """Each state of an instance, with its start and end in epoch seconds."""
    created, started = job["created_at"], job.get("started_at")
    if created is None:
        return
    ended = job.get("ended_at") if job.get("ended_at") is not None else as_of
    until = started if started is not None else ended
    if until is not None:
        yield PROVISIONING, created, until
    if started is None or ended is None:
        return
    if worked is None:
        yield RUNNING, started, ended
        return
    # The clocks of instances and AWS differ a little; bars are clipped to the billed time.
    first, last = (min(max(moment, started), ended) for moment in worked)
    yield IDLING, started, first
    yield WORKING, first, last
    yield IDLING, last, ended


def _instances(
    stage: Mapping[str, Any], shown: int
) -> Iterator[tuple[str, Mapping[str, Any], tuple[float, float] | None]]:
    """For the first instances of a stage the name, the job, and when it worked (None when unknown)."""
    jobs = [job for job in stage.get("jobs") or [stage] for _ in range(job["instance_count"] or 1)]
    instances = stage["instance_count"] or 1
    spans: Sequence[Mapping[str, Any]] = stage.get("instances") or ()
    known = len(spans) == instances
    for number in range(shown):
        name = stage["stage"] if instances == 1 else f"{stage['stage']} {number + 1}"
        worked = (spans[number]["from"], spans[number]["to"]) if known else None
        yield name, jobs[number], worked


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
            idle = format_share(stage["idle_share"])
            yield f"{name} ran {ran} on {where}, idle for {idle} of what is billed."
