"""`calibrate`: size the transform of the other shards from the measured canary; `move_canary_shard` sets it apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.names import JobPaths
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.planning.clusters.calibration import (
    MIN_SHARDS,
    CalibrationResult,
    CanaryShard,
    size_remaining_transform,
)
from batch_inference.planning.plan import Plan
from batch_inference.pricing.costs import StageUsage, compute_stage_cost, sum_if_known
from batch_inference.run import handoffs, task_ids
from batch_inference.run.run_context import RunContext
from batch_inference.verification.host_manifests import Shard

log = logging.getLogger(__name__)


def move_canary_shard(
    storage: Storage, preprocess_paths: JobPaths, shards: list[Shard]
) -> dict[str, Any] | None:
    """Move the first shard's features out of the transform's input; None when there are too few shards.

    Only the canary's job scores it. Idempotent.
    """
    if len(shards) < MIN_SHARDS:
        return None
    first = shards[0]
    source = f"{preprocess_paths.root}{first.features_key}"
    target = f"{preprocess_paths.canary}{source.rsplit('/', 1)[1]}"
    if source in storage.list_uris(source):
        storage.copy(source, target)
        storage.delete([source])
    log.info("%s is the canary; its features were moved to %s", first.name, target)
    return {"shard": first.name, "records": first.records}


@provide_run_context
def calibrate(run: RunContext, **_: Any) -> dict[str, Any]:
    """`instance_count` and `instance_types` for the rest of the transform, and the sentences that say why.

    Raises:
        PlanError: by the canary's rate the rest exceeds the budget.
    """
    config, plan, facts = run.pipeline, run.plan, run.pull(*handoffs.SHARD_STATS)
    if not facts["canary"]:
        return CalibrationResult(
            instance_count=facts["instance_count"], instance_types=plan.transform.instance_types
        ).model_dump(mode="json")
    job = run.pull(task_ids.AWAIT_CANARY)
    job = {**job, **read_instance_activity(config.aws_conn_id, config.region, job)}
    use = StageUsage.from_job("transform", job, busy_seconds=job["busy_seconds"])
    resized = size_remaining_transform(
        plan,
        CanaryShard(facts["canary"]["records"], facts["records_out"], facts["count"]),
        use,
        spent_dollars=_total_cost(plan, [run.pull(*handoffs.PREPROCESS_JOB), job]),
        now=datetime.now(UTC),
    )
    for entry in resized.log:
        log.info("%s", entry.text)
    return resized.model_dump(mode="json")


def _total_cost(plan: Plan, jobs: list[Mapping[str, Any]]) -> float | None:
    prices = plan.get_prices()
    return sum_if_known(compute_stage_cost(StageUsage.from_job("any", job), prices) for job in jobs)
