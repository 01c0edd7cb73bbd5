"""`shards`: read back what `preprocess` wrote, count it, and divide it among the transform and the joins."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from include.jobs.groups import merge_groups
from include.jobs.profiles import merge_profiles
from include.orchestration.canary import set_aside
from include.orchestration.gate import SkipRest
from include.orchestration.names import PREPROCESSED
from include.orchestration.overwritten import check_not_overwritten
from include.orchestration.run_context import RunContext, with_run
from include.scoring.errors import EmptyInputError, PlanError
from include.scoring.reconciliation import check_rejected
from include.scoring.shards import group_shards, read_manifests, right_size

log = logging.getLogger(__name__)

#: Groups of equal bytes that may come out of rounding, well below what Airflow maps over.
MOST_GROUPS = 500


@with_run
def shards(run: RunContext, **_: Any) -> list[dict[str, int]] | SkipRest:
    """The groups of shards that the joins share, each `{"number": n, "first": i, "last": j}`, counted from 0.

    Raises:
        ManifestError: an instance of `preprocess` left no account, or one that does not add up.
        RejectedError: more records were rejected than the pipeline allows.
        PlanError: every record was rejected, so that there is nothing to pay a transform for.
        EmptyInputError: the objects hold no record, and the pipeline says that this is a failure.
        ReconciliationError: an object was overwritten between the plan and the job that read it.
    """
    config, plan, storage, paths = run.pipeline, run.plan, run.storage, run.paths
    job = run.pull(PREPROCESSED)
    where = paths.job(job["job_name"])
    documents = [storage.read_json(uri) for uri in storage.uris(where.manifest)]
    check_not_overwritten(storage, plan["input"]["uri"], paths.input_listing, read_until=job["ended_at"])
    found = read_manifests(documents, hosts=job["instance_count"])
    facts = {
        "preprocess_job": job["job_name"],
        "records_in": found.records_in,
        "records_out": found.records_out,
        "rejected": dict(found.rejected),
        "count": len(found.shards),
        "busy_seconds": found.busy_seconds,
        "instances": found.working,
        "transform_instance_count": right_size(plan["transform"]["instance_count"], len(found.shards)),
        "canary": set_aside(storage, where, list(found.shards))
        if plan["canary"] and found.records_out
        else None,
    }
    run.push("facts", facts)
    profile = {
        "version": 1,
        "columns": merge_profiles(storage.read_json(uri) for uri in storage.uris(where.profile)),
        "groups": merge_groups([document.get("groups", {}) for document in documents]),
    }
    storage.write(where.merged_profile, json.dumps(profile))
    passed = f"{found.records_out:,} passed in {len(found.shards):,} shards"
    log.info("%s records in, %s, rejected: %s", f"{found.records_in:,}", passed, facts["rejected"] or "none")
    if found.records_in == 0:
        message = f"the objects below {plan['input']['uri']} hold no record"
        if config.on_empty == "fail":
            raise EmptyInputError(message)
        return SkipRest([], message)
    check_rejected(found, config.max_rejected)
    if found.records_out == 0:
        raise PlanError(
            f"all {found.records_in:,} records of {plan['input']['uri']} were rejected ({facts['rejected']}), "
            f"so there is nothing to score; each is listed with its reason below {where.rejects}"
        )
    documents_of_shards = [shard.model_dump(mode="json") for shard in found.shards]
    counts = {"in": found.records_in, "out": found.records_out, "rejected": found.rejected_count}
    storage.write_json(where.shards, {"records": counts, "shards": documents_of_shards})
    # Airflow maps a task over 1,024 values at most (core.max_map_length).
    whole = sum(shard.bytes for shard in found.shards)
    groups = group_shards(found.shards, max(plan["join"]["group_bytes"], math.ceil(whole / MOST_GROUPS)))
    return [{"number": number, "first": first, "last": last} for number, (first, last) in enumerate(groups)]
