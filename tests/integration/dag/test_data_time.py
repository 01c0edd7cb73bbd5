"""The time that `{date}` stands for: the run's own, or that of the data that started it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.dag.data_time import build_partition_key, find_data_time

INTERVAL, LOGICAL, AFTER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))


def run(interval: datetime | None = None, logical: datetime | None = None) -> SimpleNamespace:
    """A run; without these two as assets start it."""
    return SimpleNamespace(data_interval_start=interval, logical_date=logical, run_after=AFTER)


def event(asset: str, extra: Any, **more: Any) -> SimpleNamespace:
    """An event as Airflow shows it to a task."""
    return SimpleNamespace(asset=SimpleNamespace(uri=f"s3://{asset}/"), extra=extra, **more)


def published(asset: str, day: int) -> SimpleNamespace:
    """The event of a pipeline's run over a day of January."""
    return event(asset, {"data_time": f"2026-01-{day:02d}T00:00:00+00:00"})


@pytest.mark.parametrize(
    ("interval", "logical", "expected"),
    [(INTERVAL, LOGICAL, INTERVAL), (None, LOGICAL, LOGICAL), (None, None, AFTER)],
)
def test_the_date_of_a_run_is_the_first_moment_that_it_has(
    interval: datetime | None, logical: datetime | None, expected: datetime
) -> None:
    """The data interval's start, else the logical date, else `run_after`, which every run has."""
    for events in (None, {}):
        found = find_data_time(run(interval, logical), events)
        assert (found.time, found.sentences) == (expected, ())


def test_a_run_is_for_the_date_of_the_data_that_started_it() -> None:
    """Though it starts after midnight."""
    found = find_data_time(run(), {"raw": [published("raw", 2)]})
    assert found.time == datetime(2026, 1, 2, tzinfo=UTC)
    assert found.sentences == (
        "This run is for 2026-01-02 00:00 UTC, the data time of what started it: s3://raw/.",
    )


def test_of_several_events_of_an_asset_the_latest_data_time_counts_and_the_others_are_named() -> None:
    """Whatever their order: a backfill that ends after the night does not take the night's place."""
    found = find_data_time(run(), {"raw": [published("raw", day) for day in (30, 31, 12)]})
    assert found.time == datetime(2026, 1, 31, tzinfo=UTC)
    assert found.sentences[1] == (
        "2 earlier data times are not read by it, since several events started one run: 2026-01-12 00:00 UTC and "
        "2026-01-30 00:00 UTC. Trigger a run with that logical date for each that is wanted."
    )


def test_of_several_assets_the_latest_data_time_that_all_have_reached_counts() -> None:
    """One is a day ahead of the other; an asset of somebody else does not count."""
    events = {
        "raw": [published("raw", 30), published("raw", 31)],
        "prices": [published("prices", 30)],
        "elsewhere": [event("elsewhere", {})],
    }
    found = find_data_time(run(), events)
    assert found.time == datetime(2026, 1, 30, tzinfo=UTC)
    (sentence,) = found.sentences
    assert sentence == (
        "This run is for 2026-01-30 00:00 UTC, the data time of what started it: s3://prices/ and s3://raw/, "
        "the latest that all 2 assets have reached."
    )


@pytest.mark.parametrize(
    "foreign",
    [
        event("raw", None),
        event("raw", {"data_time": "yesterday"}),
        event("raw", {"data_time": 3}),
        event("raw", {}, partition_key="eu-west"),
        event("raw", {}, partition_key=None),
    ],
)
def test_an_event_without_a_data_time_leaves_the_run_its_own(foreign: SimpleNamespace) -> None:
    """And the plan says so."""
    found = find_data_time(run(), {"raw": [foreign]})
    assert found.time == AFTER
    (sentence,) = found.sentences
    assert sentence == (
        "This run was started by s3://raw/, whose event has no data time: {date} and {hour} are those of its own "
        "start, 2026-01-03 00:00 UTC."
    )


def test_a_partition_key_that_is_a_time_is_a_data_time() -> None:
    """Of Airflow's own timetables, and of ours."""
    moment = datetime(2026, 1, 2, 7, tzinfo=UTC)
    keyed = event("raw", {}, partition_key=build_partition_key(moment))
    assert find_data_time(run(), {"raw": [keyed]}).time == moment
