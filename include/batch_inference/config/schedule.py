"""Checks schedules and deadlines, and resolves deadlines.

A schedule is a cron expression of five fields, or one of Airflow's presets; a deadline is minutes from the start of the
run, or a time of day in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from batch_inference.common.formatting import suggest_name

#: Airflow handles these itself; it passes all other presets to croniter.
_UNTIMED_PRESETS = ("@once", "@continuous")
_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", *_UNTIMED_PRESETS)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_MINUTES = re.compile(r"[1-9]\d{0,4}")

ALLOWED_DEADLINES = (
    "allowed are minutes from the start of the run, such as 90, or a time of day in UTC, such as '06:00'"
)
ALLOWED_SCHEDULES = "allowed is a cron expression of five fields, or a preset such as '@daily'"


def check_schedule(value: str) -> None:
    """Raise ValueError unless `value` is a schedule that Airflow can run."""
    if value in _PRESETS:
        return
    if not value.startswith("@") and len(value.split()) != 5:
        raise ValueError(f"found {value!r}; {ALLOWED_SCHEDULES}")
    # Airflow's own cron parser.
    from croniter import CroniterBadDateError, croniter

    try:
        croniter(value, datetime(2026, 1, 1, tzinfo=UTC)).get_next()
    except CroniterBadDateError:
        # The syntax is valid, but the day never comes, such as 30 February.
        raise ValueError(f"found {value!r}, which is never due; {ALLOWED_SCHEDULES}") from None
    except ValueError as error:
        if value.startswith("@"):
            raise ValueError(f"found {value!r}; {ALLOWED_SCHEDULES}{suggest_name(value, _PRESETS)}") from None
        raise ValueError(
            f"found {value!r}, which is not a cron expression ({error}); {ALLOWED_SCHEDULES}"
        ) from None


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


#: A run that is planned longer after its time than this, as after a clear, is due at the next time of day.
MAX_OVERDUE = timedelta(days=1)


def resolve_due_time(value: int | str, *, run_after: datetime | None, now: datetime) -> datetime:
    """When a run that is planned `now` is late. Raises ValueError.

    Minutes count from now. A time of day is the next one after `run_after`, at which the run was due to start, so that
    a run which starts after its deadline is late; after now where `run_after` is None or more than a day ago.
    """
    is_clock = _CLOCK.fullmatch(str(value)) is not None
    is_recent = run_after is not None and now - run_after <= MAX_OVERDUE
    return resolve_deadline(value, run_after if run_after is not None and is_clock and is_recent else now)
