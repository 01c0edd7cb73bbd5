"""The placeholders that input and output URIs may hold: {date}, {hour} and {run_id}.

They are checked when a DAG file is parsed and filled once per run, by `plan`. Airflow's own `{{ ds }}` does
not exist in a run without a logical date, and a text rendered twice is a hole, so double braces are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from include.scoring.errors import PlaceholderError
from include.scoring.messages import did_you_mean, one_of
from include.scoring.naming import run_slug

PLACEHOLDERS = {
    "date": "day of the run in UTC, as 2026-01-31",
    "hour": "hour of the run in UTC, as 07",
    "run_id": "the run's id, with characters other than letters, digits and . _ = - replaced",
}

_FIELD = re.compile(r"\{([^{}]*)\}")


def check_placeholders(text: str) -> None:
    """Raise PlaceholderError unless every brace in `text` belongs to a known placeholder."""
    allowed = "allowed are " + one_of((f"{{{name}}}" for name in PLACEHOLDERS), last="and")
    if "{{" in text or "}}" in text or "{%" in text:
        raise PlaceholderError(
            f"found double braces in {text!r}: Airflow's templates are not rendered here, because "
            f"{{{{ ds }}}} does not exist in a run without a logical date; {allowed}"
        )
    for name in _FIELD.findall(text):
        if name not in PLACEHOLDERS:
            raise PlaceholderError(
                f"found the unknown placeholder {{{name}}} in {text!r}; {allowed}"
                + did_you_mean(name, list(PLACEHOLDERS))
            )
    if re.search(r"[{}]", _FIELD.sub("", text)):
        raise PlaceholderError(f"found an unpaired brace in {text!r}; {allowed}")


def resolve(text: str, *, moment: datetime, run_id: str) -> str:
    """Fill the placeholders of `text`.

    `moment` is the start of the run's data interval, else its logical date, else `run_after`; it must carry a
    time zone and is read in UTC. Raises PlaceholderError for a text that `check_placeholders` refuses.
    """
    check_placeholders(text)
    if moment.tzinfo is None:
        raise PlaceholderError(f"the moment {moment.isoformat()} has no time zone, so its day is unknown")
    utc = moment.astimezone(UTC)
    values = {"date": utc.strftime("%Y-%m-%d"), "hour": utc.strftime("%H"), "run_id": run_slug(run_id)}
    return _FIELD.sub(lambda match: values[match[1]], text)
