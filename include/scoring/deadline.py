"""Deadlines as people state them: minutes from now, or a time of day in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_MINUTES = re.compile(r"[1-9]\d{0,4}")

ALLOWED = (
    "allowed are minutes from the start of the run, such as 90, or a time of day in UTC, such as '06:00'"
)


def check_deadline(value: object) -> None:
    """Raise ValueError unless `value` is a deadline."""
    is_text = isinstance(value, int | str) and not isinstance(value, bool)
    if not is_text or not (_MINUTES.fullmatch(str(value)) or _CLOCK.fullmatch(str(value))):
        raise ValueError(f"found {value!r}; {ALLOWED}")


def deadline_at(value: int | str, now: datetime) -> datetime:
    """The moment of a deadline: a time of day is the next one after `now`. Raises ValueError."""
    check_deadline(value)
    clock = _CLOCK.fullmatch(str(value))
    if clock is None:
        return now + timedelta(minutes=int(value))
    utc = now.astimezone(UTC)
    moment = utc.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return moment if moment > utc else moment + timedelta(days=1)
