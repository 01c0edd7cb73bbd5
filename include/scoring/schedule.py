"""Schedules as Airflow takes them: a cron expression of five fields, or a preset."""

from __future__ import annotations

from datetime import UTC, datetime

from include.scoring.messages import did_you_mean

#: Airflow knows these by name; other presets it hands to croniter, as they are.
_WITHOUT_A_CLOCK = ("@once", "@continuous")
_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", *_WITHOUT_A_CLOCK)
ALLOWED = "allowed is a cron expression of five fields, or a preset such as '@daily'"


def check_schedule(value: str) -> None:
    """Raise ValueError unless Airflow can tell from `value` when a run is due."""
    if value in _PRESETS:
        return
    if not value.startswith("@") and len(value.split()) != 5:
        raise ValueError(f"found {value!r}; {ALLOWED}")
    # Airflow's own reader of cron, which it has imported where a DAG has a schedule.
    from croniter import CroniterBadDateError, croniter

    try:
        croniter(value, datetime(2026, 1, 1, tzinfo=UTC)).get_next()
    except CroniterBadDateError:
        # A day such as 30 February is well written and never comes.
        raise ValueError(f"found {value!r}, which is never due; {ALLOWED}") from None
    except ValueError as error:
        if value.startswith("@"):
            raise ValueError(f"found {value!r}; {ALLOWED}{did_you_mean(value, _PRESETS)}") from None
        raise ValueError(f"found {value!r}, which cron does not know ({error}); {ALLOWED}") from None
