"""Published data is an Airflow Asset with its counts."""

from __future__ import annotations

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from batch_inference.dag.assets import (
    build_output_asset,
    build_schedule,
    build_scored_alias,
    emit_asset_event,
)
from sagemaker_jobs import airflow_compat
from tests.unit.builders import pipeline


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
    events = OutletEventAccessors()
    emit_asset_event(pipeline(), events, requested_output=asked, extra={"records": {"scored": 3}})
    (event,) = events[build_scored_alias(pipeline())].asset_alias_events
    assert event.dest_asset_key.uri == Asset(asset).uri
    assert event.extra == {"records": {"scored": 3}}


def test_airflow_3_0_gets_no_nested_values_in_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a set of an extra's values, and fails the task that has published."""
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", (3, 0, 6))
    events = OutletEventAccessors()
    emit_asset_event(pipeline(), events, requested_output=None, extra={"rows": 3, "records": {"scored": 3}})
    (event,) = events[build_scored_alias(pipeline())].asset_alias_events
    assert frozenset(event.extra.items()) == {("rows", 3), ("records", '{"scored": 3}')}


def test_a_pipeline_is_scheduled_by_time_by_assets_or_by_nobody() -> None:
    assert build_schedule(pipeline({"schedule": "@daily"})) == "@daily"
    assert build_schedule(pipeline({"schedule_on": ["s3://data/raw/"]})) == [Asset("s3://data/raw/")]
    assert build_schedule(pipeline()) is None
