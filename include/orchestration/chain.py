"""The chain of a pipeline as a DAG.

plan ─▶ preprocess ─▶ preprocessed ─▶ shards ─▶ transform ─▶ transformed ─▶ join ─▶ checks ─▶ publish ─▶ report
        Processing    sensor, deferred           Transform    sensor         mapped  gates
                                                                                      clean_up (teardown)

Without `preprocess` in the pipeline its place is taken by what `include.orchestration.direct` draws.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TriggerRule, XComArg

from include.orchestration import assets, names, notifications, pools
from include.orchestration.approval import BudgetApproval
from include.orchestration.canary import canary_tasks
from include.orchestration.direct.chain import direct_tasks
from include.orchestration.documentation import document
from include.orchestration.form import form
from include.orchestration.gate import GateOperator
from include.orchestration.joining import join_tasks
from include.orchestration.pipelines import named
from include.orchestration.planned_jobs import (
    PlannedProcessingJob,
    PlannedProcessingWait,
    PlannedTransformJob,
    PlannedTransformWait,
)
from include.orchestration.poison import PoisonRecords
from include.orchestration.refusals import final
from include.orchestration.requests import processing_config, transform_config, transform_types
from include.orchestration.tasks.checks import checks
from include.orchestration.tasks.clean_up import clean_up
from include.orchestration.tasks.plan import plan
from include.orchestration.tasks.publish import publish
from include.orchestration.tasks.report import report
from include.orchestration.tasks.shards import shards
from include.orchestration.templates import (
    earlier_names_of_job,
    from_plan,
    macros,
    submitted,
    types_from_plan,
)
from include.scoring.config import Pipeline
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM


def scoring_dag(name: str, *, doc_md: str | None = None) -> DAG:
    """The DAG of the pipeline in `include/pipelines/<name>.yaml`.

    Reads that file and nothing else: no network, no Variable, no connection.

    Raises:
        PipelineError: the file is absent or wrong; Airflow shows it as this DAG's import error.
    """
    pipeline = named(name)
    body: dict[str, Any] = {"op_kwargs": {"pipeline": name}}
    job: dict[str, Any] = {
        "room_patience_seconds": pipeline.goals.wait_for_room_minutes * 60,
    }
    submits, waits = {**job, **pools.submitting(pipeline)}, {**job, **pools.waiting(pipeline)}
    with DAG(
        dag_id=pipeline.name,
        description=pipeline.description,
        doc_md=doc_md,
        schedule=assets.schedule(pipeline),
        # No start_date: Airflow would leave the tasks of a run for a date before it out, and call the run a success.
        catchup=False,
        max_active_runs=1,
        on_failure_callback=notifications.on_failure(pipeline),
        params=form(pipeline),
        user_defined_macros=macros(pipeline.name),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        tags=[names.PIPELINE_TAG],
    ) as dag:
        planned = GateOperator(task_id=names.PLAN, python_callable=final(plan), **body)
        if pipeline.goals.on_over_budget == "approve":
            approved: Any = planned >> BudgetApproval(task_id=names.APPROVAL, pipeline=name)
        else:
            approved = planned
        first, joined = (
            direct_tasks(pipeline, submits, waits)
            if pipeline.preprocess is None
            else _prepared_tasks(pipeline, submits, waits)
        )
        checked = PythonOperator(
            task_id=names.CHECKS,
            python_callable=final(checks),
            op_kwargs={"pipeline": name, "joined": joined.output},
            # A run by hand that publishes one that was held skips all that was done for that one.
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        published = PythonOperator(
            task_id=names.PUBLISH,
            python_callable=final(publish),
            op_kwargs={"pipeline": name},
            outlets=[assets.scored(pipeline)],
            # Of two that end at once, as in a backfill, each inserts the asset if it is new; Airflow 3.3.2 then fails
            # the task that comes second, although it has published.
            max_active_tis_per_dag=1,
        )
        reported = PythonOperator(
            task_id=names.REPORT,
            python_callable=final(report),
            on_success_callback=notifications.on_report(pipeline),
            **body,
        )
        cleaned_up = PythonOperator(task_id=names.CLEAN_UP, python_callable=clean_up, **body)

        approved >> first
        joined >> checked >> published >> reported >> cleaned_up.as_teardown(on_failure_fail_dagrun=True)
        if pipeline.preprocess is None:
            # One of several jobs that fails fails what follows at once; the others are not cleaned away under their
            # sensors, which would start them again.
            dag.get_task(names.TRANSFORMED) >> cleaned_up
    document(dag)
    return dag


def _prepared_tasks(pipeline: Pipeline, submits: dict[str, Any], waits: dict[str, Any]) -> tuple[Any, Any]:
    """The first and the last task between `plan` and `publish` of a pipeline with `preprocess`."""
    body: dict[str, Any] = {"op_kwargs": {"pipeline": pipeline.name, "shape": pipeline.shape}}
    poison = PoisonRecords() if pipeline.transform.on_poison == "reject" else None
    preprocess = PlannedProcessingJob(
        task_id=names.PREPROCESS,
        pipeline=pipeline,
        build=processing_config,
        instance_types=types_from_plan("preprocess"),
        replaces=earlier_names_of_job("preprocess"),
        **submits,
    )
    preprocessed = PlannedProcessingWait(
        task_id=names.PREPROCESSED,
        pipeline=pipeline,
        job_name=submitted(names.PREPROCESS, PROCESSING),
        spec=XComArg(preprocess, key="spec"),
        keep_listing=True,
        stop_after_seconds=from_plan("preprocess.max_runtime_seconds"),
        **waits,
    )
    divided = GateOperator(task_id=names.SHARDS, python_callable=final(shards), **body)
    transform = PlannedTransformJob(
        task_id=names.TRANSFORM,
        pipeline=pipeline,
        build=transform_config,
        instance_types=transform_types(pipeline),
        resume=True,
        replaces=earlier_names_of_job("transform"),
        continuation=poison,
        **submits,
    )
    transformed = PlannedTransformWait(
        task_id=names.TRANSFORMED,
        pipeline=pipeline,
        job_name=submitted(names.TRANSFORM, TRANSFORM),
        spec=XComArg(transform, key="spec"),
        keep_listing=True,
        stop_after_seconds=from_plan("transform.max_runtime_seconds"),
        continuation=poison,
        **waits,
    )
    sized = (
        canary_tasks(pipeline, divided, submits, waits) if pipeline.goals.calibrate == "canary" else divided
    )
    preprocess >> preprocessed >> divided
    sized >> transform >> transformed
    return preprocess, join_tasks(pipeline, transformed, divided.output, submits, waits)
