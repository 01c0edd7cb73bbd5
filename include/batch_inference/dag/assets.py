"""Scored data as Airflow assets: `publish` emits an event, on which other DAGs can be scheduled.

The asset is the pipeline's output prefix up to its first placeholder. A manual run with another output emits an event
for that output, so that a trial does not start the DAGs that wait for the scheduled data.
"""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Asset, AssetAlias

from batch_inference.common.s3_uri import ensure_trailing_slash
from batch_inference.config.pipeline import Pipeline
from sagemaker_jobs.airflow_compat import has_feature


def build_scored_alias(pipeline: Pipeline) -> AssetAlias:
    """The outlet of `publish`."""
    return AssetAlias(f"{pipeline.name} scored")


def build_output_asset(output_uri_template: str) -> Asset:
    """The asset of an output URI with its placeholders: `s3://b/scored/date={date}/` gives `s3://b/scored/`."""
    fixed = ensure_trailing_slash(output_uri_template).partition("{")[0]
    return Asset(fixed[: fixed.rindex("/") + 1])


def emit_asset_event(
    pipeline: Pipeline, outlet_events: Any, *, requested_output: str | None, extra: dict[str, Any]
) -> None:
    """Emit an asset event with `extra`: counts and URIs of what was published.

    `requested_output` is the run param `output_uri`, with its placeholders, or None. Airflow 3.0 fails the task for an
    extra with nested values: there they are JSON text.
    """
    if not has_feature("nested values in an event's extra"):
        extra = {
            key: json.dumps(value) if isinstance(value, dict | list) else value
            for key, value in extra.items()
        }
    outlet_events[build_scored_alias(pipeline)].add(
        build_output_asset(requested_output or pipeline.output.uri), extra=extra
    )


def build_schedule(pipeline: Pipeline) -> str | list[Asset] | None:
    """The DAG's schedule: assets, a cron expression, or None for manual runs."""
    return [Asset(uri) for uri in pipeline.schedule_on] or pipeline.schedule
