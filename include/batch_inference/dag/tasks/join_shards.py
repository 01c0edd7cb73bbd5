"""`join_shard_group`: join each record with its prediction, for one group of shards; mapped over the groups."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.aws.streaming_upload import upload_while_writing
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.jobs.join.aligned_join import JoinSpec, ShardFiles, get_partial_path, run_in_order
from batch_inference.jobs.join.parts import (
    STATISTICS_SUFFIX,
    format_part_name,
    get_statistics_path,
    join_part,
)
from batch_inference.requests.sagemaker import build_join_spec
from batch_inference.run.job_outputs import download_unchanged
from batch_inference.run.run_context import RunContext
from batch_inference.run.shard_sources import ShardSource, read_shard_sources
from batch_inference.run.task_ids import AWAIT_TRANSFORM, COLLECT_SHARDS

#: Shards that are downloaded at a time, while one is joined and the output is uploaded.
PREFETCHED_SHARDS = 3


@provide_run_context
def join_shard_group(run: RunContext, group: Mapping[str, int], **_: Any) -> dict[str, Any]:
    """Write one part file below the run's prefix; returns it, with the rows of each shard in it.

    Raises:
        ReconciliationError: the predictions are for the output of another run of `preprocess`, or an object was changed
            since its job wrote it.
        PredictionCountError: a shard does not have one prediction for each record, or one cannot be read.
    """
    storage, transformed = run.storage, run.pull(AWAIT_TRANSFORM)
    chosen = read_shard_sources(run)[group["first"] : group["last"] + 1]
    spec = JoinSpec.from_dict(build_join_spec(run.pipeline))
    # The try number is part of the name, so the file of an earlier try is never mistaken for this one's.
    attempt = f"{transformed['job_name']}-{run.ti.try_number}"
    name = format_part_name(group["number"], spec)
    uri = f"{run.paths.build_joined_prefix(attempt)}{name}"
    with tempfile.TemporaryDirectory(prefix="join-") as folder:
        output = Path(folder) / name
        with upload_while_writing(storage, uri, get_partial_path(output), output):
            part = join_part(fetch_shards(storage, chosen, Path(folder)), output, spec)
        storage.upload(get_statistics_path(output), f"{uri}{STATISTICS_SUFFIX}")
    return {
        "uri": uri,
        "statistics": f"{uri}{STATISTICS_SUFFIX}",
        "preprocess_job": run.pull(COLLECT_SHARDS, "shard_stats")["preprocess_job"],
        "transform_job": transformed["job_name"],
        **part,
    }


def fetch_shards(storage: Storage, sources: Sequence[ShardSource], folder: Path) -> Iterator[ShardFiles]:
    """Download the shards, in their order, a few of them ahead of the one that is joined."""
    return run_in_order(
        (partial(fetch_shard, storage, source, folder) for source in sources), PREFETCHED_SHARDS
    )


def fetch_shard(storage: Storage, source: ShardSource, folder: Path) -> ShardFiles:
    """Download one shard's records and predictions."""
    return ShardFiles(
        name=source.name,
        records_path=download_unchanged(storage, source.records, folder / f"{source.name}.records"),
        predictions_path=download_unchanged(
            storage, source.predictions, folder / f"{source.name}.predictions"
        ),
        columns=list(source.columns),
    )
