"""Checks and resolves deadlines: minutes from the start of the run, or a time of day in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_MINUTES = re.compile(r"[1-9]\d{0,4}")

ALLOWED_DEADLINES = (
    "allowed are minutes from the start of the run, such as 90, or a time of day in UTC, such as '06:00'"
)


def check_deadline(value: object) -> None:
    """Raise ValueError unless `value` is a deadline."""
    is_text = isinstance(value, int | str) and not isinstance(value, bool)
    if not is_text or not (_MINUTES.fullmatch(str(value)) or _CLOCK.fullmatch(str(value))):
        raise ValueError(f"found {value!r}; {ALLOWED_DEADLINES}")


def resolve_deadline(value: int | str, now: datetime) -> datetime:
    """The time of a deadline; a time of day is the next one after `now`. Raises ValueError."""
    check_deadline(value)
    clock = _CLOCK.fullmatch(str(value))
    if clock is None:
        return now + timedelta(minutes=int(value))
    utc = now.astimezone(UTC)
    due_at = utc.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return due_at if due_at > utc else due_at + timedelta(days=1)
