"""Parses the runner's event stream: one JSON object a line on its standard output."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError


class EventError(ValueError):
    """A line of the stream is not an event."""


class JobStarted(BaseModel):
    """The instances are running; `time` in epoch seconds."""

    event: Literal["started"]
    time: float


class JobProgress(BaseModel):
    """Number of objects done so far, and in total."""

    event: Literal["progress"]
    time: float
    objects_done: int
    objects_total: int


class JobFinished(BaseModel):
    """The job's end, with what each instance did."""

    event: Literal["finished"]
    time: float
    status: Literal["Completed", "Failed", "Stopped"]
    failure_reason: str | None = None
    exit_message: str | None = None
    instances: list[dict[str, Any]] = Field(default_factory=list)


Event = JobStarted | JobProgress | JobFinished
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(line: str) -> Event:
    """One line as an event; raises EventError, quoting the line."""
    try:
        return _EVENTS.validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise EventError(f"not an event of the runner: {line!r} ({where}: {problem['msg']})") from error
