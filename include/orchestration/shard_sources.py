"""Where in S3 the records and the predictions of each shard are, for whatever puts them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.orchestration.names import CANARIED, PLAN, SHARDS, TRANSFORM, TRANSFORMED
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import JobPaths, RunPaths


@dataclass(frozen=True, slots=True)
class ShardSource:
    """One shard: so many bytes of records, with these columns, and the answers to them."""

    name: str
    records_uri: str
    predictions_uri: str
    columns: Sequence[str]
    bytes: int


def shard_sources(storage: Storage, ti: Any) -> list[ShardSource]:
    """The shards of this task instance's run, in their order.

    Raises:
        ReconciliationError: the answers are to what another run of `preprocess` wrote.
    """
    facts, transformed = ti.xcom_pull(SHARDS, key="facts"), ti.xcom_pull(TRANSFORMED)
    wrote = RunPaths(ti.xcom_pull(PLAN)["run_prefix"]).job(facts["preprocess_job"])
    check_same_run(ti.xcom_pull(TRANSFORM, key="spec"), wrote)
    canary = canaried(ti, facts)
    before = canary["output_uris"] if canary else []
    answers = Answers(storage, [*before, *transformed["output_uris"]])
    mended = mended_shards(storage, transformed)

    def source_of(shard: Mapping[str, Any]) -> ShardSource:
        again = mended.get(shard["name"])
        return ShardSource(
            name=str(shard["name"]),
            records_uri=again["records_uri"] if again else f"{wrote.root}{shard['records_key']}",
            predictions_uri=again["predictions_uri"] if again else answers.of(shard["features_key"]),
            columns=shard["columns"],
            bytes=int(shard["bytes"]),
        )

    return [source_of(shard) for shard in storage.read_json(wrote.shards)["shards"]]


def canaried(ti: Any, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The job that transformed one shard of this run first, or None.

    `shards` says whether there is one: a `canaried` that is skipped, after a clear, keeps what it handed on before.
    """
    found: dict[str, Any] | None = ti.xcom_pull(CANARIED) if facts.get("canary") else None
    return found


def mended_shards(storage: Storage, transformed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The shards that were transformed in pieces and put together again, by name.

    For each, where its records and answers are now (`records_uri`, `predictions_uri`), how many these are (`records`),
    and how many the model refused (`refused`).
    """
    settled = transformed.get("settled")
    if settled is None:
        return {}
    shards: dict[str, dict[str, Any]] = storage.read_json(settled["document"])["shards"]
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
        return self.named(f"{Path(features_key).name}.out")

    def named(self, name: str) -> str:
        """URI of the answers of this name relative to the job's output."""
        for prefix, found in zip(self.prefixes, self.listed, strict=False):
            if f"{prefix}{name}" in found:
                return f"{prefix}{name}"
        return f"{self.prefixes[-1]}{name}"
