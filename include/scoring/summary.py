"""The few figures of a run that lists of runs show; the `report` task hands them on in Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """From a run's report: its moment, its records without the reasons, its duration and its cost.

    `dollars` and `seconds` are None when they are not known.
    """
    records, total = report["records"], report["total"]
    return {
        "moment": report["moment"],
        "records": {key: records[key] for key in ("in", "rejected", "scored")},
        **{key: total[key] for key in ("seconds", "billed_seconds", "dollars")},
    }
