"""Published data is an Airflow Asset with its counts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from batch_inference.dag.assets import (
    build_outlets,
    build_output_asset,
    build_partition_asset,
    build_schedule,
    build_scored_alias,
    emit_asset_events,
)
from sagemaker_jobs import airflow_compat
from tests.unit.builders import pipeline

#: Before midnight in UTC, after it where it was written.
DATA_TIME = datetime(2026, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))


def emit(requested_output: str | None = None, **extra: Any) -> tuple[OutletEventAccessors, list[Any]]:
    """Emit the events of a run; the events, and the outlets that `publish` is left with."""
    events, task = OutletEventAccessors(), SimpleNamespace(outlets=build_outlets(pipeline()))
    emit_asset_events(
        pipeline(), events, task=task, requested_output=requested_output, data_time=DATA_TIME, extra=extra
    )
    return events, task.outlets


@pytest.mark.parametrize(
    ("output", "asset"),
    [
        ("s3://data/out/date={date}/", "s3://data/out/"),
        ("s3://data/out", "s3://data/out/"),
        ("s3://data/{date}", "s3://data/"),
        ("s3://data/out/{date}/{hour}/", "s3://data/out/"),
    ],
)
def test_the_asset_is_the_output_up_to_its_first_placeholder(output: str, asset: str) -> None:
    assert build_output_asset(output).uri == Asset(asset).uri


@pytest.mark.parametrize(
    ("asked", "asset"), [(None, "s3://data/out/"), ("s3://trial/{run_id}/", "s3://trial/")]
)
def test_an_event_is_of_the_place_that_was_published_to(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, asset: str
) -> None:
    """A trial elsewhere does not start what waits for the nightly data."""
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", (3, 1, 0))
    events, outlets = emit(asked, records={"scored": 3})
    (event,) = events[build_scored_alias(pipeline())].asset_alias_events
    assert event.dest_asset_key.uri == Asset(asset).uri
    assert event.extra == {"records": {"scored": 3}, "data_time": "2026-02-01T00:30:00+01:00"}
    assert outlets == [AssetAlias("churn scored")]


def test_a_second_event_has_the_data_time_as_its_partition_key() -> None:
    """Airflow starts no DAG that waits for the asset itself on an event with a key."""
    events, outlets = emit(rows=3)
    partitions = events[build_partition_asset(pipeline())]
    assert partitions.partition_keys == {"2026-01-31T23:30:00"}
    assert partitions.extra == {"rows": 3, "data_time": "2026-02-01T00:30:00+01:00"}
    assert build_partition_asset(pipeline()) in outlets
    assert len(events) == 2


def test_a_trial_elsewhere_updates_no_partition() -> None:
    events, outlets = emit("s3://trial/", rows=3)
    assert list(events) == outlets == [AssetAlias("churn scored")]


def test_airflow_3_0_gets_no_nested_values_in_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a set of an extra's values, and fails the task that has published."""
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", (3, 0, 6))
    events, _ = emit(rows=3, records={"scored": 3})
    (event,) = events[build_scored_alias(pipeline())].asset_alias_events
    time = ("data_time", "2026-02-01T00:30:00+01:00")
    assert frozenset(event.extra.items()) == {("rows", 3), ("records", '{"scored": 3}'), time}


def test_a_pipeline_is_scheduled_by_time_by_assets_or_by_nobody() -> None:
    assert build_schedule(pipeline({"schedule": "@daily"})) == "@daily"
    assert build_schedule(pipeline({"schedule_on": ["s3://data/raw/"]})) == [Asset("s3://data/raw/")]
    assert build_schedule(pipeline()) is None
