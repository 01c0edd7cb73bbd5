"""Scored data as Airflow Assets: `publish` says that there is more of it, and others can be scheduled on that.

The asset is the pipeline's own output prefix up to its first placeholder. A run by hand that publishes elsewhere tells
about that place, so that a trial does not start what waits for the nightly data.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias

from include.scoring.config import Pipeline
from include.scoring.s3uri import as_folder


def scored(pipeline: Pipeline) -> AssetAlias:
    """The outlet of `publish`."""
    return AssetAlias(f"{pipeline.name} scored")


def asset_of(output_uri: str) -> Asset:
    """The asset of an output URI, which may hold placeholders: `s3://b/scored/date={date}/` gives `s3://b/scored/`."""
    fixed = as_folder(output_uri).partition("{")[0]
    return Asset(fixed[: fixed.rindex("/") + 1])


def tell_of(
    pipeline: Pipeline, outlet_events: Any, *, asked_output: str | None, facts: dict[str, Any]
) -> None:
    """Record an event that carries `facts`: counts and URIs of what was published.

    `asked_output` is the output of this run where a person typed one, with its placeholders.
    """
    outlet_events[scored(pipeline)].add(asset_of(asked_output or pipeline.output.uri), extra=facts)


def schedule(pipeline: Pipeline) -> str | list[Asset] | None:
    """What starts runs: a cron expression, all of these assets updated, or a person."""
    return [Asset(uri) for uri in pipeline.schedule_on] or pipeline.schedule
