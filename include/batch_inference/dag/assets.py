"""Scored data as Airflow assets: `publish` emits an event, on which other DAGs can be scheduled.

The asset is the pipeline's output prefix up to its first placeholder. A manual run with another output emits an event
for that output, so that a trial does not start the DAGs that wait for the scheduled data.

Airflow starts a DAG that waits for an asset only on events without a partition key, and a DAG that waits for partitions
only on events with one. So the partition key is on an event of its own, of a second asset: of the same asset, each DAG
that waits for it would be given both events.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from airflow.sdk import Asset, AssetAlias

from batch_inference.common.s3_uri import ensure_trailing_slash
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.data_time import EXTRA_KEY, build_partition_key
from sagemaker_jobs.airflow_compat import has_feature


def build_scored_alias(pipeline: Pipeline) -> AssetAlias:
    """The outlet of `publish`, which stands for the asset of the output that a run publishes to."""
    return AssetAlias(f"{pipeline.name} scored")


def build_partition_asset(pipeline: Pipeline) -> Asset:
    """The asset whose events carry the run's data time as their partition key."""
    return Asset(f"{pipeline.name} partitions")


def build_outlets(pipeline: Pipeline) -> list[Asset | AssetAlias]:
    """The outlets of `publish`: the partitions only where Airflow lets a task name the partition of an event."""
    partitions = [build_partition_asset(pipeline)] if has_feature("partition key of an event") else []
    return [build_scored_alias(pipeline), *partitions]


def build_output_asset(output_uri_template: str) -> Asset:
    """The asset of an output URI with its placeholders: `s3://b/scored/date={date}/` gives `s3://b/scored/`."""
    fixed = ensure_trailing_slash(output_uri_template).partition("{")[0]
    return Asset(fixed[: fixed.rindex("/") + 1])


def emit_asset_events(
    pipeline: Pipeline,
    outlet_events: Any,
    *,
    task: Any,
    requested_output: str | None,
    data_time: datetime,
    extra: dict[str, Any],
) -> None:
    """Emit the asset events of a run with its data time and `extra`: counts and URIs of what was published.

    `task` is the task that publishes, `requested_output` the run param `output_uri`, with its placeholders, or None.
    Airflow 3.0 fails the task for an extra with nested values: there they are JSON text.
    """
    extra = {**extra, EXTRA_KEY: data_time.isoformat()}
    if not has_feature("nested values in an event's extra"):
        extra = {
            key: json.dumps(value) if isinstance(value, dict | list) else value
            for key, value in extra.items()
        }
    asset = build_output_asset(requested_output or pipeline.output.uri)
    outlet_events[build_scored_alias(pipeline)].add(asset, extra=extra)
    partitions = build_partition_asset(pipeline)
    if asset != build_output_asset(pipeline.output.uri):
        # Airflow emits an event of each asset among the outlets of a task that has succeeded.
        task.outlets = [outlet for outlet in task.outlets if outlet != partitions]
    elif has_feature("partition key of an event"):
        event = outlet_events[partitions]
        event.extra = extra
        event.add_partitions(build_partition_key(data_time))


def build_schedule(pipeline: Pipeline) -> str | list[Asset] | None:
    """The DAG's schedule: assets, a cron expression, or None for manual runs."""
    return [Asset(uri) for uri in pipeline.schedule_on] or pipeline.schedule
