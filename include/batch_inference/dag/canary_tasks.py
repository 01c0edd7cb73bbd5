"""The canary tasks: transform one shard alone, measure it, and size the transform of the other shards from that.

They are skipped when the model was measured before, or there is only one shard.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from batch_inference.aws.s3 import Storage
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.names import JobPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import PlannedTransformJobOperator, add_job
from batch_inference.dag.task_functions import no_retry, provide_run_context
from batch_inference.dag.templates import template_preprocess_paths
from batch_inference.planning.clusters.calibration import (
    MIN_SHARDS,
    CalibrationResult,
    CanaryShard,
    size_remaining_transform,
)
from batch_inference.planning.plan import Plan
from batch_inference.pricing.costs import StageUsage, compute_stage_cost, load_prices, sum_if_known
from batch_inference.run import handoffs, task_ids
from batch_inference.run.run_context import RunContext
from batch_inference.verification.host_manifests import Shard

log = logging.getLogger(__name__)


class CanaryJobOperator(PlannedTransformJobOperator):
    """Submits the transform of the canary shard; skipped when `collect_shards` chose none."""

    def execute(self, context: Context) -> Any:
        """Submit it, or skip."""
        facts = no_retry(handoffs.pull)(context["ti"], task_ids.COLLECT_SHARDS, "shard_stats")
        if not facts["canary"]:
            reason = "this model was measured before, or there is only one shard"
            raise AirflowSkipException(f"nothing to calibrate: {reason}")
        return super().execute(context)


def add_canary_tasks(pipeline: Pipeline, upstream: Any) -> PythonOperator:
    """Add the canary tasks after `upstream`; return the last, whose value has the `instance_count` of the rest."""
    canary, await_canary = add_job(
        pipeline,
        "transform",
        task_ids.TRANSFORM_CANARY,
        task_ids.AWAIT_CANARY,
        {"source_uri": template_preprocess_paths().canary, "instance_count": 1},
        operator_class=CanaryJobOperator,
    )
    calibrate_task = PythonOperator(
        task_id=task_ids.CALIBRATE,
        python_callable=no_retry(calibrate),
        op_kwargs={"pipeline": pipeline.name, "shape": pipeline.dag_shape},
        trigger_rule="none_failed",
    )
    upstream >> canary >> await_canary >> calibrate_task
    return calibrate_task


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
    config, plan, facts = run.pipeline, run.plan, run.pull(task_ids.COLLECT_SHARDS, "shard_stats")
    if not facts["canary"]:
        return CalibrationResult(
            instance_count=facts["instance_count"], instance_types=plan.transform.instance_types
        ).model_dump(mode="json")
    job = run.pull(task_ids.AWAIT_CANARY)
    busy = read_instance_activity(config.aws_conn_id, config.region, job)["busy_seconds"]
    use = StageUsage.from_job("transform", job, busy_seconds=busy)
    resized = size_remaining_transform(
        plan,
        CanaryShard(facts["canary"]["records"], facts["records_out"], facts["count"]),
        use,
        spent_dollars=_total_cost(plan, [run.pull(task_ids.AWAIT_PREPROCESS), job]),
        now=datetime.now(UTC),
    )
    for entry in resized.log:
        log.info("%s", entry.text)
    return resized.model_dump(mode="json")


def _total_cost(plan: Plan, jobs: list[Mapping[str, Any]]) -> float | None:
    prices = load_prices().override_prices(plan.prices)
    return sum_if_known(compute_stage_cost(StageUsage.from_job("any", job), prices) for job in jobs)
