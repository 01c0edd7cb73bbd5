"""`join`: put each record beside its prediction, for one group of shards; mapped over the groups."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from include.jobs.join import JoinSpec, ShardFiles, in_order, unfinished
from include.jobs.parts import STATISTICS_SUFFIX, join_part, part_name, statistics_of
from include.orchestration.job_outputs import download
from include.orchestration.names import SHARDS, TRANSFORMED
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.shard_sources import ShardSource, shard_sources
from include.orchestration.storage import Storage
from include.orchestration.streaming import uploading
from include.scoring.requests import join_spec

#: Shards that are fetched at a time, while one is joined and the output is sent: boto3 moves each in parallel parts.
FETCHING = 3


@with_run
def join(run: RunContext, group: Mapping[str, int], **_: Any) -> dict[str, Any]:
    """One part file under the run's prefix, and the rows of each shard in it.

    Raises:
        ReconciliationError: the answers are to what another run of `preprocess` wrote, or an object is not as its job
            left it.
        AssociationError: a shard has not as many predictions as records, or one that cannot be read.
    """
    storage, transformed = run.storage, run.pull(TRANSFORMED)
    chosen = shard_sources(run)[group["first"] : group["last"] + 1]
    spec = JoinSpec.from_dict(join_spec(run.pipeline))
    # The try is part of the name: what an earlier try left behind is never taken for this one's.
    attempt = f"{transformed['job_name']}-{run.ti.try_number}"
    name = part_name(group["number"], spec)
    uri = f"{run.paths.joined(attempt)}{name}"
    with tempfile.TemporaryDirectory(prefix="join-") as folder:
        output = Path(folder) / name
        with uploading(storage, uri, unfinished(output), output):
            part = join_part(fetched(storage, chosen, Path(folder)), output, spec)
        storage.upload(statistics_of(output), f"{uri}{STATISTICS_SUFFIX}")
    return {
        "uri": uri,
        "statistics": f"{uri}{STATISTICS_SUFFIX}",
        "preprocess_job": run.pull(SHARDS, "facts")["preprocess_job"],
        "transform_job": transformed["job_name"],
        **part,
    }


def fetched(storage: Storage, sources: Sequence[ShardSource], folder: Path) -> Iterator[ShardFiles]:
    """The shards' files here, in their order, a few of them being brought ahead of the one that is asked for."""
    return in_order((partial(fetch, storage, source, folder) for source in sources), FETCHING)


def fetch(storage: Storage, source: ShardSource, folder: Path) -> ShardFiles:
    """Bring one shard's records and predictions here."""
    return ShardFiles(
        name=source.name,
        records=download(storage, source.records, folder / f"{source.name}.records"),
        predictions=download(storage, source.predictions, folder / f"{source.name}.predictions"),
        columns=list(source.columns),
    )
