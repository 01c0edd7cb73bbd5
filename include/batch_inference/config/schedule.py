"""Checks schedules: a cron expression of five fields, or one of Airflow's presets."""

from __future__ import annotations

from datetime import UTC, datetime

from batch_inference.common.formatting import suggest_name

#: Airflow handles these itself; it passes all other presets to croniter.
_UNTIMED_PRESETS = ("@once", "@continuous")
_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", *_UNTIMED_PRESETS)
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
