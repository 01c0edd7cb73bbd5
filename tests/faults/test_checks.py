"""The suite's own measure: what counts as billed too long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.checks import compute_excess_seconds


def job(started: float | None, ended: float, *, work_done: float | None = None) -> dict[str, Any]:
    """A usage record."""
    hosts = [] if work_done is None else [{"host": "algo-1", "ended": work_done}]
    billed = 0.0 if started is None else ended - started
    return {"started_at": started, "ended_at": ended, "billed_seconds": billed, "instances": hosts}


@pytest.mark.parametrize(
    ("record", "unwanted_at", "time_is_up", "beyond"),
    [
        (job(100, 160), None, None, 0),  # ran to its end
        (job(100, 160, work_done=150), None, None, 10),  # its instances stayed after their work
        (job(100, 160), 120, None, 40),  # nobody wanted it any more
        (job(100, 160), 90, None, 60),  # nor did anybody when it began
        (job(100, 160), None, 130, 30),  # its time was up
        (job(100, 160), 150, 130, 30),  # both: what came first
        (job(None, 160), 120, 130, 0),  # it never had an instance
    ],
)
def test_seconds_billed_beyond_what_a_job_was_wanted_for(
    record: dict[str, Any], unwanted_at: float | None, time_is_up: float | None, beyond: float
) -> None:
    """From the moment when its work was done, nobody wanted it or its time was up, to the end of billing."""
    assert compute_excess_seconds(record, unwanted_at, time_is_up) == beyond
