"""The few figures of a run that lists of runs show; the `report` task hands them on in Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Figures of the whole run that a summary has.
SUMS = ("seconds", "billed_seconds", "dollars")


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """From a run's report: its moment, its records without the reasons, its duration and its cost.

    `dollars` and `seconds` are None when they are not known.
    """
    records, total = report["records"], report["total"]
    return {
        "moment": report["moment"],
        "records": {key: records[key] for key in ("in", "rejected", "scored")},
        **{key: total[key] for key in SUMS},
    }


def summary_in(told: Any) -> Mapping[str, Any] | None:
    """What the `report` task handed on, if it has a summary; a version of before handed on less."""
    known = isinstance(told, Mapping) and {"records", *SUMS} <= told.keys()
    return told if known else None
