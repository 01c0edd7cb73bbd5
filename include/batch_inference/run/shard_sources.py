"""Finds the records and the predictions of each shard in S3, for the join."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import JobPaths
from batch_inference.run.job_outputs import JobOutputs, StoredObject, read_verified
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import (
    AWAIT_CANARY,
    AWAIT_PREPROCESS,
    AWAIT_TRANSFORM,
    COLLECT_SHARDS,
    TRANSFORM,
)


@dataclass(frozen=True, slots=True)
class ShardSource:
    """One shard: its records, their columns and size in bytes, and the predictions for them."""

    name: str
    records: StoredObject
    predictions: StoredObject
    columns: Sequence[str]
    bytes: int


def read_shard_sources(run: RunContext) -> list[ShardSource]:
    """The shards of the run, in their order.

    Raises:
        ReconciliationError: the predictions are for the output of another run of `preprocess`, or a shard has none.
    """
    storage, shard_stats, transform_job = (
        run.storage,
        run.pull(COLLECT_SHARDS, "shard_stats"),
        run.pull(AWAIT_TRANSFORM),
    )
    preprocess_paths = run.paths.build_job_paths(shard_stats["preprocess_job"])
    check_features_origin(run.pull(TRANSFORM, "spec"), preprocess_paths)
    preprocess_outputs = JobOutputs.read(storage, run.pull(AWAIT_PREPROCESS))
    canary = read_canary_job(run, shard_stats)
    transform_outputs = [JobOutputs.read(storage, job) for job in (canary, transform_job) if job]
    merged_shards = read_merged_shards(storage, transform_job)

    def source_of(shard: Mapping[str, Any]) -> ShardSource:
        merged = merged_shards.get(shard["name"])
        output_name = f"{Path(shard['features_key']).name}.out"
        return ShardSource(
            name=str(shard["name"]),
            records=StoredObject(*merged["records_object"])
            if merged
            else preprocess_outputs.find(f"{preprocess_paths.root}{shard['records_key']}"),
            predictions=StoredObject(*merged["predictions_object"])
            if merged
            else next(
                (each for each in transform_outputs if each.has_output(output_name)), transform_outputs[-1]
            ).find_output(output_name),
            columns=shard["columns"],
            bytes=int(shard["bytes"]),
        )

    return [source_of(shard) for shard in storage.read_json(preprocess_paths.shards)["shards"]]


def read_canary_job(run: RunContext, shard_stats: Mapping[str, Any]) -> dict[str, Any] | None:
    """The job that transformed the canary shard of this run, or None.

    `collect_shards` decides whether there is one: after a clear, a skipped `await_canary` keeps its earlier value.
    """
    found: dict[str, Any] | None = run.pull(AWAIT_CANARY) if shard_stats.get("canary") else None
    return found


def read_merged_shards(storage: Storage, transform_job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The shards that were transformed in pieces and merged again, by name.

    For each: its records and predictions as they were written (`records_object`, `predictions_object`: URI, size, ETag
    and the job), their number (`records`), and the number that the model refused (`refused`).
    """
    resolved = transform_job.get("resolution")
    if resolved is None:
        return {}
    content = read_verified(storage, resolved["document"], resolved["sha256"], transform_job["job_name"])
    shards: dict[str, dict[str, Any]] = json.loads(content)["shards"]
    return shards


def check_features_origin(transform_spec: Mapping[str, Any], preprocess_paths: JobPaths) -> None:
    """Check that the transform read the features of this preprocess job: shard names are the same in each run of it.

    Raises:
        ReconciliationError: the transform was asked to read the output of another job.
    """
    read = transform_spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    if read != preprocess_paths.features:
        raise ReconciliationError(
            f"the transform read {read}, but `collect_shards` counted {preprocess_paths.root}; one of them was run "
            f"again without the other: clear `transform` and all that follows it"
        )
