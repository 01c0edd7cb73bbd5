"""`shards`: read back what `preprocess` wrote, count it, and divide it among the transform and the joins."""

from __future__ import annotations

import logging
from typing import Any

from include.orchestration.gate import SkipRest
from include.orchestration.names import PLAN, PREPROCESSED
from include.orchestration.pipelines import named
from include.orchestration.storage import Storage
from include.scoring.errors import EmptyInputError, PlanError
from include.scoring.naming import RunPaths
from include.scoring.shards import group_shards, read_manifests, right_size

log = logging.getLogger(__name__)


def shards(pipeline: str, *, ti: Any, **_: Any) -> list[dict[str, int]] | SkipRest:
    """The groups of shards that the joins share, each `{"number": n, "first": i, "last": j}`, counted from 0.

    Raises:
        ManifestError: an instance of `preprocess` left no account, or one that does not add up.
        PlanError: every record was rejected, so that there is nothing to pay a transform for.
        EmptyInputError: the objects hold no record, and the pipeline says that this is a failure.
    """
    config, plan = named(pipeline), ti.xcom_pull(PLAN)
    storage, job = Storage(config.aws_conn_id), ti.xcom_pull(PREPROCESSED)
    where = RunPaths(plan["run_prefix"]).job(job["job_name"])
    documents = [storage.read_json(uri) for uri in storage.uris(where.manifest)]
    found = read_manifests(documents, hosts=job["instance_count"])
    facts = {
        "preprocess_job": job["job_name"],
        "records_in": found.records_in,
        "records_out": found.records_out,
        "rejected": dict(found.rejected),
        "count": len(found.shards),
        "transform_instance_count": right_size(plan["transform"]["instance_count"], len(found.shards)),
    }
    ti.xcom_push(key="facts", value=facts)
    log.info("%s records in, %s passed in %s shards, rejected: %s",
             f"{found.records_in:,}", f"{found.records_out:,}", len(found.shards), dict(found.rejected) or "none")  # fmt: skip
    if found.records_in == 0:
        message = f"the objects below {plan['input']['uri']} hold no record"
        if config.on_empty == "fail":
            raise EmptyInputError(message)
        return SkipRest([], message)
    if found.records_out == 0:
        raise PlanError(
            f"all {found.records_in:,} records of {plan['input']['uri']} were rejected ({dict(found.rejected)}), so there "
            f"is nothing to score; each is listed with its reason below {where.rejects}"
        )
    storage.write_json(f"{where.root}shards.json", {"shards": [shard.model_dump(mode="json") for shard in found]})
    return numbered(group_shards(found, plan["join"]["group_bytes"]))


def numbered(groups: Sequence[Sequence[Shard]]) -> list[dict[str, int]]:
    """Groups of neighbours as ranges, which stay small in XCom however many shards there are."""
    ranges, first = [], 0
    for number, group in enumerate(groups):
        ranges.append({"number": number, "first": first, "last": first + len(group) - 1})
        first += len(group)
    return ranges
