"""The tasks of a canary: one shard set aside, transformed alone, measured; the rest sized from it.

Where the model has been measured before, or there is one shard only, the canary's tasks are skipped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context, XComArg
from airflow.sdk.exceptions import AirflowSkipException

from include.orchestration import handoffs, names
from include.orchestration.measure import work_of
from include.orchestration.planned_jobs import PlannedTransformJob, PlannedTransformWait
from include.orchestration.refusals import final
from include.orchestration.requests import canary_config
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.storage import Storage
from include.orchestration.templates import earlier_names_of_job, from_plan, submitted, types_from_plan
from include.scoring.calibration import FEWEST_SHARDS, Canary, resize
from include.scoring.config import Pipeline
from include.scoring.cost import StageUse, cost_of, load_prices, total
from include.scoring.naming import JobPaths
from include.scoring.shards import Shard
from sagemaker_jobs.kinds import TRANSFORM

log = logging.getLogger(__name__)


class CanaryJobOperator(PlannedTransformJob):
    """The transform of one shard; skipped where `shards` has set none aside."""

    def execute(self, context: Context) -> Any:
        """Submit it, or skip."""
        facts = final(handoffs.pull)(context["ti"], names.SHARDS, "facts")
        if not facts["canary"]:
            raise AirflowSkipException(
                "nothing to calibrate: this model was measured before, or one shard is all"
            )
        return super().execute(context)


def canary_tasks(
    pipeline: Pipeline, before: Any, submits: dict[str, Any], waits: dict[str, Any]
) -> PythonOperator:
    """The tasks after `before`; the last one, whose value has the `instance_count` of the rest."""
    canary = CanaryJobOperator(
        task_id=names.CANARY,
        pipeline=pipeline,
        build=canary_config,
        instance_types=types_from_plan("transform"),
        replaces=earlier_names_of_job("transform"),
        **submits,
    )
    canaried = PlannedTransformWait(
        task_id=names.CANARIED,
        pipeline=pipeline,
        job_name=submitted(names.CANARY, TRANSFORM),
        spec=XComArg(canary, key="spec"),
        keep_listing=True,
        stop_after_seconds=from_plan("transform.max_runtime_seconds"),
        **waits,
    )
    calibrated = PythonOperator(
        task_id=names.CALIBRATE,
        python_callable=final(calibrate),
        op_kwargs={"pipeline": pipeline.name, "shape": pipeline.shape},
        trigger_rule="none_failed",
    )
    before >> canary >> canaried >> calibrated
    return calibrated


def set_aside(storage: Storage, where: JobPaths, shards: list[Shard]) -> dict[str, Any] | None:
    """Take the first shard's features out of what the transform reads; None where there are too few shards.

    It is scored by the canary and by nobody else. Done twice it is done once.
    """
    if len(shards) < FEWEST_SHARDS:
        return None
    first = shards[0]
    source = f"{where.root}{first.features_key}"
    target = f"{where.canary}{source.rsplit('/', 1)[1]}"
    if source in storage.uris(source):
        storage.copy(source, target)
        storage.delete([source])
    log.info("%s was set aside for the canary, in %s", first.name, target)
    return {"shard": first.name, "records": first.records}


@with_run
def calibrate(run: RunContext, **_: Any) -> dict[str, Any]:
    """`instance_count` and `instance_types` for the rest of the transform, and the sentences that say why.

    Raises:
        PlanError: by the canary's rate the rest exceeds the budget.
    """
    config, plan, facts = run.pipeline, run.plan, run.pull(names.SHARDS, "facts")
    if not facts["canary"]:
        return {
            "instance_count": facts["transform_instance_count"],
            "instance_types": plan["transform"]["instance_types"],
            "sentences": [],
        }
    job = run.pull(names.CANARIED)
    busy = work_of(config.aws_conn_id, config.region, job)["busy_seconds"]
    use = StageUse.from_job("transform", job, busy_seconds=busy)
    resized = resize(
        plan,
        Canary(facts["canary"]["records"], facts["records_out"], facts["count"]),
        use,
        spent=_spent(plan, [run.pull(names.PREPROCESSED), job]),
        now=datetime.now(UTC),
    )
    for sentence in resized.sentences:
        log.info("%s", sentence)
    return {
        "instance_count": resized.instance_count,
        "instance_types": list(resized.instance_types),
        "sentences": list(resized.sentences),
    }


def _spent(plan: Mapping[str, Any], jobs: list[Mapping[str, Any]]) -> float | None:
    prices = load_prices().overridden(plan["prices"])
    return total(cost_of(StageUse.from_job("any", job), prices) for job in jobs)
