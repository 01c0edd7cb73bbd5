"""When each instance was provisioned, started, worked and waited: what was paid for, and what for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.scoring.messages import count, duration
from include.scoring.pictures.picture import GOOD, IDLE, OTHER, WAITING, Picture, literal, rows_layout, titled

#: Rows of one stage; a larger cluster shows as many and says how many it has.
MOST_INSTANCES = 16

PROVISIONING, IDLING, WORKING, RUNNING = "Provisioning", "Idle", "Working", "Running"
HOVER = {
    PROVISIONING: "provisioning, not billed,",
    IDLING: "idle, billed,",
    WORKING: "working",
    RUNNING: "running, billed,",
}
COLOURS = {PROVISIONING: WAITING, IDLING: IDLE, WORKING: GOOD, RUNNING: OTHER}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an instance's time, in epoch seconds."""

    row: str
    kind: str
    start: float
    end: float


def timeline(report: Mapping[str, Any]) -> Picture | None:
    """A row for each instance, or None while there is no job. A job that still runs is drawn up to `as_of`."""
    stages = [stage for stage in report.get("stages", ()) if stage.get("created_at") is not None]
    if not stages:
        return None
    pieces = [piece for stage in stages for piece in _pieces(stage, report.get("as_of"))]
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
        "layout": rows_layout(
            len(rows),
            barmode="overlay",
            showlegend=True,
            # The order of the rows is that of the stages, not that in which the traces name them.
            yaxis={"categoryorder": "array", "categoryarray": rows},
            xaxis={"title": titled("seconds since the first job was made"), "rangemode": "tozero"},
        ),
    }
    return Picture(
        name="timeline",
        title="Time line",
        caption=" ".join([*_sentences(stages), "Provisioning is not billed."]),
        figure=figure,
    )


def _pieces(stage: Mapping[str, Any], as_of: float | None) -> Iterator[Piece]:
    for row, job, worked in _rows(stage):
        created, started = job["created_at"], job.get("started_at")
        if created is None:
            continue
        ended = job.get("ended_at") if job.get("ended_at") is not None else as_of
        until = started if started is not None else ended
        if until is not None:
            yield Piece(row, PROVISIONING, created, until)
        if started is None or ended is None:
            continue
        if worked is None:
            yield Piece(row, RUNNING, started, ended)
            continue
        # Clocks of instances and of AWS differ a little; nothing is drawn outside the billed time.
        first, last = (min(max(moment, started), ended) for moment in worked)
        yield Piece(row, IDLING, started, first)
        yield Piece(row, WORKING, first, last)
        yield Piece(row, IDLING, last, ended)


def _rows(stage: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any], tuple[float, float] | None]]:
    """The instances of a stage, the job of each, and when it worked, if that is known."""
    jobs = [job for job in stage.get("jobs") or [stage] for _ in range(job["instance_count"] or 1)]
    name, instances = stage["stage"], stage["instance_count"] or 1
    spans: Sequence[Mapping[str, Any]] = stage.get("instances") or ()
    worked = {number: (span["from"], span["to"]) for number, span in enumerate(spans, 1)}
    known = len(spans) == instances
    shown = min(instances, MOST_INSTANCES)
    for number in range(1, shown + 1):
        label = (
            name if instances == 1 else f"{name} {number}" + (f" of {instances}" if shown < instances else "")
        )
        yield label, jobs[number - 1], worked[number] if known else None


def _trace(kind: str, pieces: Sequence[Piece], zero: float) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": kind,
        "y": [literal(piece.row) for piece in pieces],
        "base": [round(piece.start - zero, 3) for piece in pieces],
        "x": [round(piece.end - piece.start, 3) for piece in pieces],
        "marker": {"color": COLOURS[kind]},
        "customdata": [duration(piece.end - piece.start) for piece in pieces],
        "hovertemplate": f"%{{y}}<br>{HOVER[kind]} for %{{customdata}}<extra></extra>",
    }


def _sentences(stages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for stage in stages:
        name = stage["stage"].capitalize()
        where = count(stage["instance_count"] or 1, "instance")
        if stage.get("jobs"):
            where += f" in {count(len(stage['jobs']), 'job')}"
        if stage.get("started_at") is None:
            yield f"{name} waits for {where}."
        elif stage.get("ended_at") is None:
            yield f"{name} runs on {where}."
        elif stage.get("idle_share") is None:
            yield f"{name} ran {duration(stage['running_seconds'])} on {where}; how busy they were is not known."
        else:
            ran = duration(stage["running_seconds"])
            yield f"{name} ran {ran} on {where}, idle for {stage['idle_share']:.0%} of what is billed."
