"""scored.json: the jobs, counts and joined parts of a run, which is all that judging, publishing and reporting need.

It is written once the rows are proved to be all of them. From then on a run can be published by another one, when
Airflow may not know this one's tasks any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from include.orchestration.job_outputs import JobOutputs, check_unchanged, read_json
from include.orchestration.measure import work_of
from include.orchestration.names import (
    CALIBRATE,
    JOIN_JOB_DONE,
    JOINED,
    JOINING,
    PREPROCESSED,
    SHARDS,
    TRANSFORMED,
)
from include.orchestration.run_context import RunContext
from include.orchestration.shard_sources import canaried, mended_shards
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import RunPaths
from include.scoring.reconciliation import Reconciled, reconcile
from include.scoring.requests import manifest_uris
from include.scoring.several_jobs import together
from include.scoring.shards import read_manifests


def document(
    *,
    jobs: Mapping[str, Any],
    facts: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    transformed: Mapping[str, Any],
    reconciled: Reconciled,
    resized: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """scored.json. `jobs` maps a stage to its finished job, with what its instances did; `resized` is what a canary
    changed of the plan."""
    return {
        "version": 1,
        "jobs": dict(jobs),
        "facts": dict(facts),
        "parts": list(parts),
        "transformed": dict(transformed),
        "reconciled": asdict(reconciled),
        "resized": resized,
    }


def scored_run(run: RunContext, joined: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """scored.json of a run with preprocessing.

    Raises:
        ReconciliationError: records in are not records rejected plus rows joined, or parts are of different jobs.
    """
    config, storage, plan = run.pipeline, run.storage, run.plan
    preprocessed, transformed = run.pull(PREPROCESSED), run.pull(TRANSFORMED)
    facts = run.pull(SHARDS, "facts")
    parts = parts_of(joined, facts, preprocessed["job_name"], transformed["job_name"])
    refused = {shard: each["refused"] for shard, each in mended_shards(storage, transformed).items()}
    reconciled = reconciled_run(
        storage, plan, preprocessed, parts, refused, set_aside=set_aside_features(storage, plan, facts)
    )
    # `preprocess` measures itself; what the model's containers did is read from their logs.
    own = {"busy_seconds": facts["busy_seconds"], "instances": facts.get("instances")}
    jobs = {
        "preprocess": {**preprocessed, **own},
        "transform": {**transformed, **work_of(config.aws_conn_id, config.region, transformed)},
    }
    if canary := canaried(run, facts):
        # Both are the stage: its records, its cost and its rate are those of all shards.
        measured = {**canary, **work_of(config.aws_conn_id, config.region, canary)}
        jobs["transform"] = together([measured, jobs["transform"]])
    if join := join_job_of(run):
        jobs["join"] = join
    return document(
        jobs=jobs,
        facts=facts,
        parts=parts,
        transformed=transformed,
        reconciled=reconciled,
        resized=run.pull(CALIBRATE, is_optional=True),
    )


def join_job_of(run: RunContext) -> dict[str, Any] | None:
    """The job that joined this run; None where Airflow's workers did.

    A job of before a clear, after which the run took the other branch, stays known to Airflow and is none of it.
    """
    if run.pull(JOINING, "job", is_optional=True) is None:
        return None
    return {**run.pull(JOIN_JOB_DONE), "busy_seconds": run.pull(JOINED, "facts")["busy_seconds"]}


def parts_of(
    joined: Iterable[Mapping[str, Any]], facts: Mapping[str, Any], preprocess_job: str, transform_job: str
) -> list[Mapping[str, Any]]:
    """The parts that were joined from these two jobs.

    A join that was cleared away, because a later run of `shards` gave fewer groups, leaves its result in Airflow; its
    jobs are others.

    Raises:
        ReconciliationError: a shard is in two parts, or `shards` has not read what `preprocess` wrote last.
    """
    if facts["preprocess_job"] != preprocess_job:
        raise ReconciliationError(
            f"`shards` read what {facts['preprocess_job']} wrote, but `preprocess` has run again as {preprocess_job}; "
            f"clear `shards` and all that follows it"
        )
    current = (preprocess_job, transform_job)
    parts = [part for part in joined if (part["preprocess_job"], part["transform_job"]) == current]
    seen: set[str] = set()
    for part in parts:
        twice = seen.intersection(part["shards"])
        if twice:
            raise ReconciliationError(
                f"shard {min(twice)} is in two parts, {part['uri']} among them", min(twice)
            )
        seen.update(part["shards"])
    return parts


def set_aside_features(storage: Storage, plan: Mapping[str, Any], facts: Mapping[str, Any]) -> set[str]:
    """URIs of the features that `shards` has moved for a canary."""
    if not facts.get("canary"):
        return set()
    wrote = RunPaths(plan["run_prefix"]).job(facts["preprocess_job"])
    shards = storage.read_json(wrote.shards)["shards"]
    return {
        f"{wrote.root}{each['features_key']}" for each in shards if each["name"] == facts["canary"]["shard"]
    }


def reconciled_run(
    storage: Storage,
    plan: Mapping[str, Any],
    preprocessed: Mapping[str, Any],
    parts: Iterable[Mapping[str, Any]],
    refused: Mapping[str, int],
    set_aside: Collection[str] = (),
) -> Reconciled:
    """The counts of the run, which add up: per object, per shard and in all. `refused`: records that the model could
    not take, by shard; `set_aside`: features that were moved for a canary.

    Raises:
        ReconciliationError, ManifestError: they do not, or what `preprocess` wrote was changed since.
    """
    paths = RunPaths(plan["run_prefix"])
    written, wrote = JobOutputs.of(storage, preprocessed), paths.job(preprocessed["job_name"])
    # The transform has read the features by itself. A canary's shard was taken from among them.
    check_unchanged(storage, [each for each in written.below(wrote.features) if each.uri not in set_aside])
    found = read_manifests(
        [read_json(storage, each) for each in written.below(wrote.manifest)],
        hosts=preprocessed["instance_count"],
    )
    return reconcile(
        found,
        {shard: rows for part in parts for shard, rows in part["shards"].items()},
        objects=manifest_uris(storage.read_json(paths.input_manifest)),
        refused=refused,
    )


def profile_of(storage: Storage, paths: RunPaths, scored: Mapping[str, Any]) -> dict[str, Any]:
    """The merged profile of the records: `columns`, and `groups` by sensitive column; empty without preprocessing."""
    job = scored["facts"]["preprocess_job"]
    if job is None:
        return {"columns": {}, "groups": {}}
    profile: dict[str, Any] = storage.read_json(paths.job(job).merged_profile)
    return profile
