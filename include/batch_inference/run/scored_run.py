"""Builds scored.json: the jobs, counts and joined parts of a run, which is all that checks, publish and report need.

It is written when the counts are reconciled. From then on another run can publish this one, even when Airflow no longer
has this one's tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import RunPaths
from batch_inference.pricing.job_totals import merge_jobs
from batch_inference.requests.sagemaker import list_manifest_uris
from batch_inference.run.job_outputs import JobOutputs, check_unchanged, read_unchanged_json
from batch_inference.run.run_context import RunContext
from batch_inference.run.shard_sources import read_canary_job, read_merged_shards
from batch_inference.run.task_ids import (
    AWAIT_JOIN_JOB,
    AWAIT_PREPROCESS,
    AWAIT_TRANSFORM,
    CALIBRATE,
    CHOOSE_JOIN,
    COLLECT_PARTS,
    COLLECT_SHARDS,
)
from batch_inference.verification.host_manifests import read_manifests
from batch_inference.verification.reconciliation import Reconciliation, reconcile


def build_scored_document(
    *,
    jobs: Mapping[str, Any],
    shard_stats: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    transform_job: Mapping[str, Any],
    reconciled: Reconciliation,
    resized: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """scored.json. `jobs` maps a stage to its finished job, with its instances' activity; `resized` is what a canary
    changed in the plan."""
    return {
        "version": 1,
        "jobs": dict(jobs),
        "facts": dict(shard_stats),
        "parts": list(parts),
        "transformed": dict(transform_job),
        "reconciled": asdict(reconciled),
        "resized": resized,
    }


def build_scored_run(run: RunContext, joined_parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """scored.json of a run with preprocessing.

    Raises:
        ReconciliationError: records in are not records rejected plus rows joined, or parts are of different jobs.
    """
    pipeline, storage, plan = run.pipeline, run.storage, run.plan
    preprocess_job, transform_job = run.pull(AWAIT_PREPROCESS), run.pull(AWAIT_TRANSFORM)
    shard_stats = run.pull(COLLECT_SHARDS, "shard_stats")
    parts = select_parts(joined_parts, shard_stats, preprocess_job["job_name"], transform_job["job_name"])
    refused_by_shard = {
        shard: each["refused"] for shard, each in read_merged_shards(storage, transform_job).items()
    }
    reconciled = reconcile_run(
        storage,
        plan,
        preprocess_job,
        parts,
        refused_by_shard,
        canary_features=list_canary_features(storage, plan, shard_stats),
    )
    # `preprocess` measures itself; the activity of the model's containers is read from their logs.
    measured_times = {"busy_seconds": shard_stats["busy_seconds"], "instances": shard_stats.get("instances")}
    jobs = {
        "preprocess": {**preprocess_job, **measured_times},
        "transform": {
            **transform_job,
            **read_instance_activity(pipeline.aws_conn_id, pipeline.region, transform_job),
        },
    }
    if canary := read_canary_job(run, shard_stats):
        # Both jobs together are the stage: its records, its cost and its rate are those of all shards.
        measured = {**canary, **read_instance_activity(pipeline.aws_conn_id, pipeline.region, canary)}
        jobs["transform"] = merge_jobs([measured, jobs["transform"]])
    if join := read_join_job(run):
        jobs["join"] = join
    return build_scored_document(
        jobs=jobs,
        shard_stats=shard_stats,
        parts=parts,
        transform_job=transform_job,
        reconciled=reconciled,
        resized=run.pull(CALIBRATE, is_optional=True),
    )


def read_join_job(run: RunContext) -> dict[str, Any] | None:
    """The job that joined this run; None when Airflow's workers joined it.

    When a cleared run takes the other branch, Airflow keeps the XCom of the earlier job, which is not used.
    """
    if run.pull(CHOOSE_JOIN, "job", is_optional=True) is None:
        return None
    return {**run.pull(AWAIT_JOIN_JOB), "busy_seconds": run.pull(COLLECT_PARTS, "join_stats")["busy_seconds"]}


def select_parts(
    joined_parts: Iterable[Mapping[str, Any]],
    shard_stats: Mapping[str, Any],
    preprocess_job: str,
    transform_job: str,
) -> list[Mapping[str, Any]]:
    """The parts that were joined from these two jobs.

    When `collect_shards` runs again and gives fewer groups, Airflow keeps the results of the joins that are gone; they
    name other jobs.

    Raises:
        ReconciliationError: a shard is in two parts, or `collect_shards` read the output of an earlier `preprocess`.
    """
    if shard_stats["preprocess_job"] != preprocess_job:
        raise ReconciliationError(
            f"`collect_shards` read what {shard_stats['preprocess_job']} wrote, but `preprocess` has run again as "
            f"{preprocess_job}; clear `collect_shards` and all that follows it"
        )
    current = (preprocess_job, transform_job)
    parts = [part for part in joined_parts if (part["preprocess_job"], part["transform_job"]) == current]
    seen: set[str] = set()
    for part in parts:
        repeated = seen.intersection(part["shards"])
        if repeated:
            raise ReconciliationError(
                f"shard {min(repeated)} is in two parts, {part['uri']} among them", min(repeated)
            )
        seen.update(part["shards"])
    return parts


def list_canary_features(
    storage: Storage, plan: Mapping[str, Any], shard_stats: Mapping[str, Any]
) -> set[str]:
    """URIs of the features that `collect_shards` moved for a canary."""
    if not shard_stats.get("canary"):
        return set()
    preprocess_paths = RunPaths(plan["run_prefix"]).build_job_paths(shard_stats["preprocess_job"])
    shards = storage.read_json(preprocess_paths.shards)["shards"]
    return {
        f"{preprocess_paths.root}{each['features_key']}"
        for each in shards
        if each["name"] == shard_stats["canary"]["shard"]
    }


def reconcile_run(
    storage: Storage,
    plan: Mapping[str, Any],
    preprocess_job: Mapping[str, Any],
    parts: Iterable[Mapping[str, Any]],
    refused_by_shard: Mapping[str, int],
    canary_features: Collection[str] = (),
) -> Reconciliation:
    """The counts of the run, checked per object, per shard and in all. `refused_by_shard`: records that the model
    refused; `canary_features`: features that were moved for a canary.

    Raises:
        ReconciliationError, ManifestError: they do not add up, or the output of `preprocess` was changed.
    """
    paths = RunPaths(plan["run_prefix"])
    preprocess_outputs, preprocess_paths = (
        JobOutputs.read(storage, preprocess_job),
        paths.build_job_paths(preprocess_job["job_name"]),
    )
    # The transform reads the features without our checks. A canary's shard was moved out of them.
    check_unchanged(
        storage,
        [
            each
            for each in preprocess_outputs.list_below(preprocess_paths.features)
            if each.uri not in canary_features
        ],
    )
    manifests = read_manifests(
        [
            read_unchanged_json(storage, each)
            for each in preprocess_outputs.list_below(preprocess_paths.manifests)
        ],
        host_count=preprocess_job["instance_count"],
    )
    return reconcile(
        manifests,
        {shard: rows for part in parts for shard, rows in part["shards"].items()},
        objects=list_manifest_uris(storage.read_json(paths.input_manifest)),
        refused_records=refused_by_shard,
    )


def read_profile(storage: Storage, paths: RunPaths, scored: Mapping[str, Any]) -> dict[str, Any]:
    """The merged profile of the records: `columns`, and `groups` by sensitive column; empty without preprocessing."""
    job = scored["facts"]["preprocess_job"]
    if job is None:
        return {"columns": {}, "groups": {}}
    profile: dict[str, Any] = storage.read_json(paths.build_job_paths(job).merged_profile)
    return profile
