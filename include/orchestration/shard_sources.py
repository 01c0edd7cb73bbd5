"""Where in S3 the records and the predictions of each shard are, for whatever puts them side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.orchestration.job_outputs import JobOutputs, StoredObject, read_listing
from include.orchestration.names import CANARIED, PREPROCESSED, SHARDS, TRANSFORM, TRANSFORMED
from include.orchestration.run_context import RunContext
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import JobPaths


@dataclass(frozen=True, slots=True)
class ShardSource:
    """One shard: so many bytes of records, with these columns, and the answers to them."""

    name: str
    records: StoredObject
    predictions: StoredObject
    columns: Sequence[str]
    bytes: int


def shard_sources(run: RunContext) -> list[ShardSource]:
    """The shards of the run, in their order.

    Raises:
        ReconciliationError: the answers are to what another run of `preprocess` wrote, or a shard has none.
    """
    storage, facts, transformed = run.storage, run.pull(SHARDS, "facts"), run.pull(TRANSFORMED)
    wrote = run.paths.job(facts["preprocess_job"])
    check_same_run(run.pull(TRANSFORM, "spec"), wrote)
    written = JobOutputs.of(storage, run.pull(PREPROCESSED))
    canary = canaried(run, facts)
    answers = [JobOutputs.of(storage, job) for job in (canary, transformed) if job]
    mended = mended_shards(storage, transformed)

    def source_of(shard: Mapping[str, Any]) -> ShardSource:
        again = mended.get(shard["name"])
        answer = f"{Path(shard['features_key']).name}.out"
        return ShardSource(
            name=str(shard["name"]),
            records=StoredObject(*again["records_object"])
            if again
            else written.find(f"{wrote.root}{shard['records_key']}"),
            predictions=StoredObject(*again["predictions_object"])
            if again
            else next((each for each in answers if each.has(answer)), answers[-1]).named(answer),
            columns=shard["columns"],
            bytes=int(shard["bytes"]),
        )

    return [source_of(shard) for shard in storage.read_json(wrote.shards)["shards"]]


def canaried(run: RunContext, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The job that transformed one shard of this run first, or None.

    `shards` says whether there is one: a `canaried` that is skipped, after a clear, keeps what it handed on before.
    """
    found: dict[str, Any] | None = run.pull(CANARIED) if facts.get("canary") else None
    return found


def mended_shards(storage: Storage, transformed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The shards that were transformed in pieces and put together again, by name.

    For each, its records and answers as they were written (`records_object`, `predictions_object`: URI, size, ETag and
    the job), how many these are (`records`), and how many the model refused (`refused`).
    """
    settled = transformed.get("settled")
    if settled is None:
        return {}
    body = read_listing(storage, settled["document"], settled["sha256"], transformed["job_name"])
    shards: dict[str, dict[str, Any]] = json.loads(body)["shards"]
    return shards


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
