"""Checks and fills the placeholders of input and output URIs: {date}, {hour} and {run_id}.

They are checked when a DAG file is parsed and filled once per run, by `plan`. Airflow's own `{{ ds }}` does not
exist in a run without a logical date, and rendering a text twice would be an injection, so double braces are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from batch_inference.common.errors import PlaceholderError
from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.common.names import slugify_run_id

PLACEHOLDERS = {
    "date": "day of the run in UTC, as 2026-01-31",
    "hour": "hour of the run in UTC, as 07",
    "run_id": "the run's id, with characters other than letters, digits and . _ = - replaced",
}

_FIELD = re.compile(r"\{([^{}]*)\}")


def check_placeholders(text: str) -> None:
    """Raise PlaceholderError unless every brace in `text` belongs to a known placeholder."""
    allowed = "allowed are " + join_quoted((f"{{{name}}}" for name in PLACEHOLDERS), conjunction="and")
    if "{{" in text or "}}" in text or "{%" in text:
        raise PlaceholderError(
            f"found double braces in {text!r}: Airflow's templates are not rendered here, because "
            f"{{{{ ds }}}} does not exist in a run without a logical date; {allowed}"
        )
    for name in _FIELD.findall(text):
        if name not in PLACEHOLDERS:
            raise PlaceholderError(
                f"found the unknown placeholder {{{name}}} in {text!r}; {allowed}"
                + suggest_name(name, list(PLACEHOLDERS))
            )
    if re.search(r"[{}]", _FIELD.sub("", text)):
        raise PlaceholderError(f"found an unpaired brace in {text!r}; {allowed}")


def fill_placeholders(text: str, *, data_time: datetime, run_id: str) -> str:
    """Fill the placeholders of `text`.

    `data_time` has a time zone, and is converted to UTC. Raises PlaceholderError for a text that `check_placeholders`
    refuses.
    """
    check_placeholders(text)
    if data_time.tzinfo is None:
        raise PlaceholderError(f"the time {data_time.isoformat()} has no time zone, so its day is unknown")
    utc = data_time.astimezone(UTC)
    values = {"date": utc.strftime("%Y-%m-%d"), "hour": utc.strftime("%H"), "run_id": slugify_run_id(run_id)}
    return _FIELD.sub(lambda match: values[match[1]], text)
