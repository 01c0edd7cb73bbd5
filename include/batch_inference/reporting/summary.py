"""Builds the summary of a run, in the XCom of `clean_up`, which lists of runs show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Members of the report's `total` that a summary has.
TOTAL_FIGURES = ("seconds", "billed_seconds", "dollars")


def build_summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a report: data time, record counts without reasons, duration and cost.

    `dollars` and `seconds` are None when they are not known.
    """
    records, total = report["records"], report["total"]
    return {
        "data_time": report["data_time"],
        "records": {key: records[key] for key in ("in", "rejected", "scored")},
        **{key: total[key] for key in TOTAL_FIGURES},
    }


def parse_summary(xcom_value: Any) -> Mapping[str, Any] | None:
    """The summary in the XCom of `clean_up`; None if the run published nothing."""
    known = isinstance(xcom_value, Mapping) and {"records", *TOTAL_FIGURES} <= xcom_value.keys()
    return xcom_value if known else None
