"""`join`: put each record beside its prediction, for one group of shards; mapped over the groups."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from include.jobs.join import JoinSpec, ShardFiles, join_group
from include.orchestration.names import PLAN, SHARDS, TRANSFORM, TRANSFORMED
from include.orchestration.pipelines import named
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import JobPaths, RunPaths
from include.scoring.requests import join_spec

#: Shards that are fetched at a time: boto3 moves each in parallel parts already, and a worker has other tasks.
FETCHING = 4


def join(pipeline: str, group: Mapping[str, int], *, ti: Any, **_: Any) -> dict[str, Any]:
    """One part file under the run's prefix, and the rows of each shard in it.

    Raises:
        ReconciliationError: the answers are to what another run of `preprocess` wrote.
        AssociationError: a shard has not as many predictions as records, or one that cannot be read.
    """
    config, plan, transformed = named(pipeline), ti.xcom_pull(PLAN), ti.xcom_pull(TRANSFORMED)
    facts = ti.xcom_pull(SHARDS, key="facts")
    paths, storage = RunPaths(plan["run_prefix"]), Storage(config.aws_conn_id, config.region)
    wrote = paths.job(facts["preprocess_job"])
    check_same_run(ti.xcom_pull(TRANSFORM, key="spec"), wrote)
    chosen = storage.read_json(f"{wrote.root}shards.json")["shards"][group["first"] : group["last"] + 1]
    spec = JoinSpec.from_dict(join_spec(config))
    part = f"part-{group['number']:05d}.{config.join.format}"
    answers = Answers(storage, transformed["output_uris"])
    with tempfile.TemporaryDirectory(prefix="join-") as folder, ThreadPoolExecutor(FETCHING) as pool:
        files = list(pool.map(lambda shard: fetch(storage, wrote, answers, shard, Path(folder)), chosen))
        output = Path(folder) / part
        counts = join_group(files, output, spec)
        # The try is part of the name: what an earlier try left behind is never taken for this one's.
        attempt = f"{transformed['job_name']}-{ti.try_number}"
        uri = f"{paths.joined(attempt)}{part}"
        size = output.stat().st_size
        storage.upload(output, uri)
    return {
        "uri": uri,
        "bytes": size,
        "preprocess_job": facts["preprocess_job"],
        "transform_job": transformed["job_name"],
        "rows": sum(count.rows for count in counts),
        "shards": {count.shard: count.rows for count in counts},
    }


def check_same_run(spec: Mapping[str, Any], wrote: JobPaths) -> None:
    """Refuse to put records beside the answers to others: names of shards are the same in each run of `preprocess`.

    Raises:
        ReconciliationError: the transform was asked to read what another job wrote.
    """
    read = spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    if read != wrote.features:
        raise ReconciliationError(
            f"the transform read {read}, but `shards` counted what lies below {wrote.root}; one of them was run again "
            f"without the other: clear `transform` and all that follows it"
        )


class Answers:
    """Where the predictions of each shard are.

    A transform that failed part-way is continued by a second job, for the objects that have no answer yet, so answers
    may lie below several prefixes; a shard's are below the first that has them.
    """

    def __init__(self, storage: Storage, prefixes: Sequence[str]) -> None:
        self.prefixes = list(prefixes)
        # One prefix has all of them, and need not be listed.
        self.listed = (
            [set(storage.uris(prefix)) for prefix in self.prefixes] if len(self.prefixes) > 1 else []
        )

    def of(self, features_key: str) -> str:
        """URI of the answers to an object; in no prefix: where it should be in the last, so that it is missed there."""
        name = f"{Path(features_key).name}.out"
        for prefix, found in zip(self.prefixes, self.listed, strict=False):
            if f"{prefix}{name}" in found:
                return f"{prefix}{name}"
        return f"{self.prefixes[-1]}{name}"


def fetch(
    storage: Storage, wrote: JobPaths, answers: Answers, shard: Mapping[str, Any], folder: Path
) -> ShardFiles:
    """Bring one shard's records and predictions here."""
    name = str(shard["name"])
    return ShardFiles(
        name=name,
        records=storage.download(f"{wrote.root}{shard['records_key']}", folder / f"{name}.records"),
        predictions=storage.download(answers.of(shard["features_key"]), folder / f"{name}.predictions"),
        columns=shard["columns"],
    )
