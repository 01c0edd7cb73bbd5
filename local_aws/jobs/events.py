"""Parses the runner's event stream: one JSON object a line on its standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, cast

FINAL_STATUSES = ("Completed", "Failed", "Stopped")


class EventError(ValueError):
    """A line of the stream is not an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """The instances are running; `time` in epoch seconds."""

    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Number of objects done so far, and in total."""

    time: float
    objects_done: int
    objects_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished:
    """The job's end, with what each instance did."""

    time: float
    status: Literal["Completed", "Failed", "Stopped"]
    failure_reason: str | None = None
    exit_message: str | None = None
    instances: list[dict[str, Any]] = field(default_factory=list)


Event = JobStarted | JobProgress | JobFinished


def parse_event(line: str) -> Event:
    """One line as an event; raises EventError, quoting the line."""
    try:
        data = json.loads(line)
        time = float(data["time"])
        match data["event"]:
            case "started":
                return JobStarted(time=time)
            case "progress":
                return JobProgress(
                    time=time,
                    objects_done=int(data["objects_done"]),
                    objects_total=int(data["objects_total"]),
                )
            case "finished":
                if data["status"] not in FINAL_STATUSES:
                    raise EventError(
                        f"status is {data['status']!r}, allowed are {', '.join(FINAL_STATUSES)}: {line!r}"
                    )
                return JobFinished(
                    time=time,
                    status=cast(Literal["Completed", "Failed", "Stopped"], data["status"]),
                    failure_reason=data.get("failure_reason"),
                    exit_message=data.get("exit_message"),
                    instances=list(data.get("instances") or []),
                )
            case other:
                raise EventError(f"unknown event {other!r} in {line!r}")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, EventError):
            raise
        raise EventError(f"not an event of the runner: {line!r} ({error})") from error
