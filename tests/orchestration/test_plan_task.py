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


@pytest.mark.parametrize(
    ("run_id", "tag"),
    [
        ("manual__2026-01-02T03:04:05.6+00:00", "manual__2026-01-02T03:04:05.6+00:00"),
        ("nächtlich 7", "nächtlich 7"),
        ("what*ever", ""),
        ("x" * 257, ""),
    ],
)
def test_a_run_id_is_a_tag_whole_or_not_at_all(run_id: str, tag: str) -> None:
    """The janitor leaves alone what does not name its run."""
    assert run_tag(run_id) == tag
