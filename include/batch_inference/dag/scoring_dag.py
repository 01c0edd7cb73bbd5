"""Builds the DAG of a pipeline.

plan ─▶ preprocess ─▶ await_preprocess ─▶ collect_shards ─▶ transform ─▶ await_transform
        Processing    deferrable sensor   counts, groups    Transform    deferrable sensor

     ─▶ join ─▶ checks ─▶ publish ─▶ report ─▶ clean_up
        mapped  gates                              teardown

A pipeline without `preprocess` has the tasks that `batch_inference.dag.task_groups` shows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, TriggerRule

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import load_pipeline_by_name
from batch_inference.config.run_params import build_param_specs
from batch_inference.dag import assets, callbacks
from batch_inference.dag.approval import BudgetApprovalOperator
from batch_inference.dag.bad_record_search import BadRecordContinuation
from batch_inference.dag.planned_jobs import add_job
from batch_inference.dag.task_docs import set_task_docs
from batch_inference.dag.task_functions import SkippablePythonOperator, no_retry
from batch_inference.dag.task_groups.canary_tasks import add_canary_tasks
from batch_inference.dag.task_groups.join_tasks import add_join_tasks
from batch_inference.dag.task_groups.without_preprocess import add_tasks_without_preprocess
from batch_inference.dag.tasks.checks import run_checks
from batch_inference.dag.tasks.clean_up import clean_up
from batch_inference.dag.tasks.collect_shards import collect_shards
from batch_inference.dag.tasks.plan import plan_run
from batch_inference.dag.tasks.publish import publish
from batch_inference.dag.tasks.report import write_report
from batch_inference.dag.templates import (
    build_macros,
    template_preprocess_paths,
    template_xcom_value,
)
from batch_inference.run import task_ids


def build_scoring_dag(name: str, *, doc_md: str | None = None) -> DAG:
    """The DAG of the pipeline in `include/pipelines/<name>.yaml`.

    Reads that file and nothing else: no network, no Variable, no connection.

    Raises:
        PipelineError: the file is absent or wrong; Airflow shows it as this DAG's import error.
    """
    pipeline = load_pipeline_by_name(name)
    task_args: dict[str, Any] = {"op_kwargs": {"pipeline": name}}
    with DAG(
        dag_id=pipeline.name,
        description=pipeline.description,
        doc_md=doc_md,
        schedule=assets.build_schedule(pipeline),
        # No start_date: Airflow creates no tasks in a run for a date before it, and the run succeeds.
        catchup=False,
        max_active_runs=1,
        on_failure_callback=callbacks.build_failure_callbacks(pipeline),
        params={param: Param(**spec) for param, spec in build_param_specs(pipeline).items()},
        user_defined_macros=build_macros(pipeline.name),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=[task_ids.PIPELINE_TAG],
    ) as dag:
        plan_task = SkippablePythonOperator(
            task_id=task_ids.PLAN, python_callable=no_retry(plan_run), **task_args
        )
        if pipeline.goals.on_over_budget == "approve":
            approval_task: Any = plan_task >> BudgetApprovalOperator(
                task_id=task_ids.AWAIT_APPROVAL, pipeline=name
            )
        else:
            approval_task = plan_task
        first_task, join_task = (
            add_tasks_without_preprocess(pipeline)
            if pipeline.preprocess is None
            else _add_tasks_with_preprocess(pipeline)
        )
        checks_task = PythonOperator(
            task_id=task_ids.CHECKS,
            python_callable=no_retry(run_checks),
            op_kwargs={"pipeline": name, "joined": join_task.output},
            # A run that releases a held run (`publish_run`) skips the tasks in between.
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        publish_task = PythonOperator(
            task_id=task_ids.PUBLISH,
            python_callable=no_retry(publish),
            op_kwargs={"pipeline": name},
            outlets=[assets.build_scored_alias(pipeline)],
            # When two tasks insert the same new asset at once, as in a backfill, Airflow 3.3.2 fails the second one,
            # although it has published.
            max_active_tis_per_dag=1,
        )
        report_task = PythonOperator(
            task_id=task_ids.REPORT,
            python_callable=no_retry(write_report),
            on_success_callback=callbacks.build_report_callback(pipeline),
            **task_args,
        )
        clean_up_task = PythonOperator(task_id=task_ids.CLEAN_UP, python_callable=clean_up, **task_args)

        approval_task >> first_task
        (
            join_task
            >> checks_task
            >> publish_task
            >> report_task
            >> clean_up_task.as_teardown(on_failure_fail_dagrun=True)
        )
        if pipeline.preprocess is None:
            # When one mapped job fails, clean_up waits for the sensors of the others: a sensor whose job is stopped
            # starts it again.
            dag.get_task(task_ids.AWAIT_TRANSFORM) >> clean_up_task
    set_task_docs(dag)
    return dag


def _add_tasks_with_preprocess(pipeline: Pipeline) -> tuple[Any, Any]:
    """Add the tasks from preprocess to join of a pipeline with `preprocess`; return the first and the last."""
    preprocess, await_preprocess = add_job(
        pipeline, "preprocess", task_ids.PREPROCESS, task_ids.AWAIT_PREPROCESS, {}
    )
    collect_task = SkippablePythonOperator(
        task_id=task_ids.COLLECT_SHARDS,
        python_callable=no_retry(collect_shards),
        op_kwargs={"pipeline": pipeline.name, "shape": pipeline.dag_shape},
    )
    before_transform: Any = collect_task
    values = {
        "instance_count": template_xcom_value(task_ids.COLLECT_SHARDS, ".instance_count", "shard_stats")
    }
    instance_types = None
    if pipeline.goals.calibrate == "canary":
        before_transform = add_canary_tasks(pipeline, collect_task)
        values = {
            name: template_xcom_value(task_ids.CALIBRATE, path)
            for name, path in {
                "instance_count": ".instance_count",
                "instance_type": ".instance_types[0]",
            }.items()
        }
        instance_types = template_xcom_value(task_ids.CALIBRATE, ".instance_types | join(' ')")
    transform, await_transform = add_job(
        pipeline,
        "transform",
        task_ids.TRANSFORM,
        task_ids.AWAIT_TRANSFORM,
        {"source_uri": template_preprocess_paths().features, **values},
        instance_types=instance_types,
        continuation=BadRecordContinuation() if pipeline.transform.on_bad_records == "reject" else None,
        resume=True,
    )
    preprocess >> await_preprocess >> collect_task
    before_transform >> transform >> await_transform
    return preprocess, add_join_tasks(pipeline, await_transform, collect_task.output)
