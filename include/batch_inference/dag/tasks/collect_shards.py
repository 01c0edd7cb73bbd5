"""The end of `await_preprocess`: read the manifests, count shards and records, group the shards for `join`."""

from __future__ import annotations

import json
import logging
from typing import Any

from batch_inference.common.errors import EmptyInputError, PlanError
from batch_inference.dag.task_functions import SkipDownstream, provide_run_context
from batch_inference.dag.tasks.calibrate import move_canary_shard
from batch_inference.jobs.common.groups import merge_group_counts
from batch_inference.jobs.common.profiles import merge_profiles
from batch_inference.planning.clusters.sizing import cap_instance_count
from batch_inference.planning.inputs.input_split import group_neighbours
from batch_inference.run.handoffs import PREPROCESS_JOB, SHARD_STATS
from batch_inference.run.job_outputs import check_not_overwritten
from batch_inference.run.run_context import RunContext
from batch_inference.verification.host_manifests import ShardList, merge_host_manifests
from batch_inference.verification.reconciliation import check_max_rejected, format_reasons
from batch_inference.verification.rejects import RejectsDocument, describe_first_example

log = logging.getLogger(__name__)


@provide_run_context
def collect_shards(run: RunContext, **_: Any) -> list[dict[str, int]] | SkipDownstream:
    """The groups of shards, one for each join task: `{"number": n, "first": i, "last": j}`, counted from 0.

    Raises:
        ManifestError: an instance of `preprocess` wrote no manifest, or one whose counts do not add up.
        TooManyRejectsError: more records were rejected than the pipeline allows.
        PlanError: every record was rejected, so there is nothing to transform.
        EmptyInputError: the objects hold no record, and on_empty is 'fail'.
        ReconciliationError: an object was overwritten between the plan and the job that read it.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    job = run.pull(*PREPROCESS_JOB)
    preprocess_paths = paths.build_job_paths(job["job_name"])
    documents = [storage.read_json(uri) for uri in storage.list_uris(preprocess_paths.manifests)]
    check_not_overwritten(storage, plan.input.uri, paths.input_listing, read_until=job["ended_at"])
    manifests = merge_host_manifests(documents, host_count=job["instance_count"])
    shards = manifests.shards
    group_bytes = plan.join.compute_group_bytes(sum(shard.bytes for shard in shards))
    groups = group_neighbours(shards, group_bytes, get_columns=lambda shard: shard.columns)
    rejects = RejectsDocument(
        records_in=manifests.records_in,
        withheld_columns=tuple(each.column for each in config.sensitive),
        reject_groups=manifests.reject_groups,
    )
    storage.write_json(preprocess_paths.reject_summary, rejects.model_dump(mode="json"))
    shard_stats = {
        "preprocess_job": job["job_name"],
        "records_in": manifests.records_in,
        "records_out": manifests.records_out,
        "rejected": dict(manifests.rejected),
        "reject_summary": preprocess_paths.reject_summary,
        "count": len(shards),
        "groups": len(groups),
        "busy_seconds": manifests.busy_seconds,
        "instances": manifests.working_periods,
        # As many as planned, but no more than there are shards without the rejects.
        "instance_count": cap_instance_count(plan.transform.instance_count, len(shards)),
        "canary": move_canary_shard(storage, preprocess_paths, list(shards))
        if plan.canary and manifests.records_out
        else None,
    }
    run.push(SHARD_STATS[1], shard_stats)
    profiles = (storage.read_json(uri) for uri in storage.list_uris(preprocess_paths.profiles))
    profile = {
        "version": 1,
        "columns": merge_profiles(profiles),
        "groups": merge_group_counts([document.get("groups", {}) for document in documents]),
    }
    storage.write(preprocess_paths.merged_profile, json.dumps(profile))
    passed = f"{manifests.records_out:,} passed in {len(shards):,} shards"
    reasons = format_reasons(manifests.rejected)
    log.info("%s records in, %s, rejected: %s", f"{manifests.records_in:,}", passed, reasons or "none")
    if manifests.records_in == 0:
        message = f"the objects below {plan.input.uri} hold no record"
        if config.on_empty == "fail":
            raise EmptyInputError(message)
        return SkipDownstream([], message)
    check_max_rejected(manifests, config.max_rejected)
    if manifests.records_out == 0:
        raise PlanError(
            f"all {manifests.records_in:,} records of {plan.input.uri} were rejected ({reasons}), so there is nothing "
            f"to score; each is listed with its reason below {preprocess_paths.rejects}. "
            f"{describe_first_example(manifests.reject_groups)}"
        )
    shard_list = ShardList(
        records_in=manifests.records_in,
        records_out=manifests.records_out,
        rejected=manifests.rejected_count,
        shards=shards,
    )
    storage.write_json(preprocess_paths.shards, shard_list.model_dump(mode="json"))
    return [{"number": number, "first": each[0], "last": each[-1]} for number, each in enumerate(groups)]
