"""The canary tasks: transform one shard alone, measure it, and size the transform of the other shards from that.

They are skipped when the model was measured before, or there is only one shard.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import PlannedTransformJobOperator, add_job
from batch_inference.dag.task_functions import import_on_call, report_failures
from batch_inference.dag.templates import template_preprocess_paths
from batch_inference.run import handoffs, task_ids
from sagemaker_jobs.airflow_compat import AirflowSkipException


class CanaryJobOperator(PlannedTransformJobOperator):
    """Submits the transform of the canary shard; skipped when `await_preprocess` chose none."""

    def execute(self, context: Context) -> Any:
        """Submit it, or skip."""
        from batch_inference.dag.failure_report import report_failure

        with report_failure(context["ti"]):
            facts = handoffs.pull(context["ti"], *handoffs.SHARD_STATS)
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
        python_callable=report_failures(import_on_call("batch_inference.dag.tasks.calibrate:calibrate")),
        op_kwargs={"pipeline": pipeline.name, "shape": pipeline.dag_shape},
        trigger_rule="none_failed",
    )
    upstream >> canary >> await_canary >> calibrate_task
    return calibrate_task
