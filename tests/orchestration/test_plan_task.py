"""What `plan` takes from the run itself."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from include.orchestration.tasks.plan import moment_of
from include.orchestration.templates import run_tag

INTERVAL, LOGICAL, AFTER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))


@pytest.mark.parametrize(
    ("interval", "logical", "expected"),
    [(INTERVAL, LOGICAL, INTERVAL), (None, LOGICAL, LOGICAL), (None, None, AFTER)],
)
def test_the_date_of_a_run_is_the_first_moment_that_it_has(
    interval: datetime | None, logical: datetime | None, expected: datetime
) -> None:
    """The data interval's start, else the logical date, else `run_after`, which every run has."""
    run = SimpleNamespace(data_interval_start=interval, logical_date=logical, run_after=AFTER)
    assert moment_of(run) == expected


def test_a_run_id_becomes_a_tag_that_aws_takes() -> None:
    """Signs that tags allow stay, others become an underscore, and 256 characters are the end."""
    assert run_tag("manual__2026-01-02T03:04:05.6+00:00") == "manual__2026-01-02T03:04:05.6+00:00"
    assert run_tag("näch*t") == "n_ch_t"
    assert len(run_tag("x" * 300)) == 256
