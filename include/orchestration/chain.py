"""Builds the DAG of a pipeline.

plan ─▶ preprocess ─▶ await_preprocess ─▶ collect_shards ─▶ transform ─▶ await_transform
        Processing    deferrable sensor   counts, groups    Transform    deferrable sensor

     ─▶ join ─▶ checks ─▶ publish ─▶ report ─▶ clean_up
        mapped  gates                              teardown

A pipeline without `preprocess` has the tasks that `include.orchestration.direct` shows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TriggerRule, XComArg

from include.orchestration import assets, names, notifications, pools
from include.orchestration.approval import BudgetApprovalOperator
from include.orchestration.canary import add_canary_tasks
from include.orchestration.direct.chain import add_tasks_without_preprocess
from include.orchestration.documentation import set_task_docs
from include.orchestration.form import build_form_params
from include.orchestration.gate import SkippablePythonOperator
from include.orchestration.joining import add_join_tasks
from include.orchestration.pipelines import load_pipeline_by_name
from include.orchestration.planned_jobs import (
    PlannedProcessingJobOperator,
    PlannedProcessingJobSensor,
    PlannedTransformJobOperator,
    PlannedTransformJobSensor,
)
from include.orchestration.poison import BadRecordContinuation
from include.orchestration.refusals import no_retry
from include.orchestration.requests import (
    build_processing_config,
    build_transform_config,
    template_transform_types,
)
from include.orchestration.tasks.checks import run_checks
from include.orchestration.tasks.clean_up import clean_up
from include.orchestration.tasks.plan import plan_run
from include.orchestration.tasks.publish import publish
from include.orchestration.tasks.report import write_report
from include.orchestration.tasks.shards import collect_shards
from include.orchestration.templates import (
    build_macros,
    template_earlier_job_names,
    template_instance_types,
    template_plan_value,
    template_submitted_job_name,
)
from include.scoring.config import Pipeline
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM


def build_scoring_dag(name: str, *, doc_md: str | None = None) -> DAG:
    """The DAG of the pipeline in `include/pipelines/<name>.yaml`.

    Reads that file and nothing else: no network, no Variable, no connection.

    Raises:
        PipelineError: the file is absent or wrong; Airflow shows it as this DAG's import error.
    """
    pipeline = load_pipeline_by_name(name)
    task_args: dict[str, Any] = {"op_kwargs": {"pipeline": name}}
    job_args: dict[str, Any] = {
        "capacity_wait_seconds": pipeline.goals.wait_for_room_minutes * 60,
    }
    submit_args, wait_args = (
        {**job_args, **pools.build_submit_args(pipeline)},
        {**job_args, **pools.build_wait_args(pipeline)},
    )
    with DAG(
        dag_id=pipeline.name,
        description=pipeline.description,
        doc_md=doc_md,
        schedule=assets.build_schedule(pipeline),
        # No start_date: Airflow creates no tasks in a run for a date before it, and the run succeeds.
        catchup=False,
        max_active_runs=1,
        on_failure_callback=notifications.build_failure_callbacks(pipeline),
        params=build_form_params(pipeline),
        user_defined_macros=build_macros(pipeline.name),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=[names.PIPELINE_TAG],
    ) as dag:
        plan_task = SkippablePythonOperator(
            task_id=names.PLAN, python_callable=no_retry(plan_run), **task_args
        )
        if pipeline.goals.on_over_budget == "approve":
            approval_task: Any = plan_task >> BudgetApprovalOperator(
                task_id=names.AWAIT_APPROVAL, pipeline=name
            )
        else:
            approval_task = plan_task
        first_task, join_task = (
            add_tasks_without_preprocess(pipeline, submit_args, wait_args)
            if pipeline.preprocess is None
            else _add_tasks_with_preprocess(pipeline, submit_args, wait_args)
        )
        checks_task = PythonOperator(
            task_id=names.CHECKS,
            python_callable=no_retry(run_checks),
            op_kwargs={"pipeline": name, "joined": join_task.output},
            # A run that releases a held run (`publish_run`) skips the tasks in between.
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        publish_task = PythonOperator(
            task_id=names.PUBLISH,
            python_callable=no_retry(publish),
            op_kwargs={"pipeline": name},
            outlets=[assets.build_scored_alias(pipeline)],
            # When two tasks insert the same new asset at once, as in a backfill, Airflow 3.3.2 fails the second one,
            # although it has published.
            max_active_tis_per_dag=1,
        )
        report_task = PythonOperator(
            task_id=names.REPORT,
            python_callable=no_retry(write_report),
            on_success_callback=notifications.build_report_callback(pipeline),
            **task_args,
        )
        clean_up_task = PythonOperator(task_id=names.CLEAN_UP, python_callable=clean_up, **task_args)

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
            dag.get_task(names.AWAIT_TRANSFORM) >> clean_up_task
    set_task_docs(dag)
    return dag


def _add_tasks_with_preprocess(
    pipeline: Pipeline, submit_args: dict[str, Any], wait_args: dict[str, Any]
) -> tuple[Any, Any]:
    """Add the tasks from preprocess to join of a pipeline with `preprocess`; return the first and the last."""
    task_args: dict[str, Any] = {"op_kwargs": {"pipeline": pipeline.name, "shape": pipeline.dag_shape}}
    poison = BadRecordContinuation() if pipeline.transform.on_poison == "reject" else None
    preprocess = PlannedProcessingJobOperator(
        task_id=names.PREPROCESS,
        pipeline=pipeline,
        build=build_processing_config,
        instance_types=template_instance_types("preprocess"),
        replaces=template_earlier_job_names("preprocess"),
        **submit_args,
    )
    await_preprocess = PlannedProcessingJobSensor(
        task_id=names.AWAIT_PREPROCESS,
        pipeline=pipeline,
        job_name=template_submitted_job_name(names.PREPROCESS, PROCESSING),
        spec=XComArg(preprocess, key="spec"),
        write_listing=True,
        stop_after_seconds=template_plan_value("preprocess.max_runtime_seconds"),
        **wait_args,
    )
    collect_task = SkippablePythonOperator(
        task_id=names.COLLECT_SHARDS, python_callable=no_retry(collect_shards), **task_args
    )
    transform = PlannedTransformJobOperator(
        task_id=names.TRANSFORM,
        pipeline=pipeline,
        build=build_transform_config,
        instance_types=template_transform_types(pipeline),
        resume=True,
        replaces=template_earlier_job_names("transform"),
        continuation=poison,
        **submit_args,
    )
    await_transform = PlannedTransformJobSensor(
        task_id=names.AWAIT_TRANSFORM,
        pipeline=pipeline,
        job_name=template_submitted_job_name(names.TRANSFORM, TRANSFORM),
        spec=XComArg(transform, key="spec"),
        write_listing=True,
        stop_after_seconds=template_plan_value("transform.max_runtime_seconds"),
        continuation=poison,
        **wait_args,
    )
    before_transform = (
        add_canary_tasks(pipeline, collect_task, submit_args, wait_args)
        if pipeline.goals.calibrate == "canary"
        else collect_task
    )
    preprocess >> await_preprocess >> collect_task
    before_transform >> transform >> await_transform
    return preprocess, add_join_tasks(pipeline, await_transform, collect_task.output, submit_args, wait_args)
