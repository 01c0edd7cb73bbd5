"""Builds the DAG of a pipeline.

plan ─▶ preprocess ─▶ await_preprocess ─▶ transform ─▶ await_transform ─▶ join ─▶ checks ─▶ publish ─▶ clean_up
        Processing    deferrable sensor   Transform    deferrable sensor  mapped  gates                teardown,
                      counts, groups                                                                   report

With `calibrate: explore`, other settings are tried on some shards at the same time:

await_preprocess ─▶ select_trials ─┬─▶ transform ─▶ await_transform ─────┬─▶ join
                                   └─▶ transform_trial ─▶ await_trial ───┘
                                       mapped             mapped

A pipeline without `preprocess`, whose model gets the lines of the input:

plan ─▶ cut_input ─▶ write_manifests ─▶ transform ─▶ await_transform ─▶ join ─▶ checks ─▶ publish ─▶ clean_up
        in S3        one per job        mapped       mapped             mapped                       teardown

With `join.processing_above`, a processing job joins large inputs:

choose_join ─┬─▶ join (mapped) ───────────────────────┬─▶ collect_parts
branch       └─▶ join_job ─▶ await_join_job ──────────┘
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG, Param, task_group

from batch_inference.common.errors import PipelineError
from batch_inference.common.names import build_runs_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import register_folder
from batch_inference.config.run_params import build_param_specs
from batch_inference.dag import assets, callbacks
from batch_inference.dag.canary_tasks import add_canary_tasks
from batch_inference.dag.continuation import BadRecordContinuation
from batch_inference.dag.planned_jobs import PreprocessJobSensor, add_job
from batch_inference.dag.task_docs import set_task_docs
from batch_inference.dag.task_functions import SkippablePythonOperator, import_on_call, report_failures
from batch_inference.dag.templates import (
    build_macros,
    template_job_name,
    template_preprocess_paths,
    template_xcom_value,
)
from batch_inference.dag.trial_tasks import add_trial_tasks
from batch_inference.run import task_ids
from batch_inference.run.handoffs import SHARD_STATS
from sagemaker_jobs.airflow_compat import AIRFLOW_VERSION_TEXT, TriggerRule, has_feature


def build_pipeline_dag(pipeline: Pipeline, folder: Path, *, doc_md: str | None = None) -> DAG:
    """The DAG of a pipeline that was read below `folder`, where its tasks find it again.

    No network, no Variable, no connection. Raises PipelineError for a notifier that cannot be built.
    """
    name = pipeline.name
    register_folder(name, folder)
    # Called by other tasks; what is wrong with one is an error of the file, not of a night.
    callbacks.build_notifiers(pipeline, pipeline.notify.on_late, "on_late")
    task_args: dict[str, Any] = {"op_kwargs": {"pipeline": name}}
    with DAG(
        dag_id=name,
        description=pipeline.description,
        doc_md=doc_md or f"# {name}\n\n{pipeline.description}",
        schedule=assets.build_schedule(pipeline),
        # No start_date: Airflow creates no tasks in a run for a date before it, and the run succeeds.
        catchup=False,
        max_active_runs=1,
        on_failure_callback=callbacks.build_failure_callbacks(pipeline),
        user_defined_macros=build_macros(name),
        default_args={
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            **({} if pipeline.owner is None else {"owner": pipeline.owner}),
        },
        access_control=_build_access_control(pipeline),
        tags=[task_ids.PIPELINE_TAG, *pipeline.dag_tags],
    ) as dag:
        planned: Any = SkippablePythonOperator(
            task_id=task_ids.PLAN, python_callable=_import_task("plan:plan_run"), **task_args
        )
        if pipeline.goals.on_over_budget == "approve":
            planned = planned >> _build_approval_task(pipeline)
        has_preprocess = pipeline.preprocess is not None
        add_tasks = _add_tasks_with_preprocess if has_preprocess else _add_tasks_without_preprocess
        first_task, join_task = add_tasks(pipeline)
        checks_task = PythonOperator(
            task_id=task_ids.CHECKS,
            python_callable=_import_task("checks:run_checks"),
            op_kwargs={"pipeline": name, "joined": join_task.output},
            # A run that releases a held run (`publish_run`) skips the tasks in between.
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        publish_task = PythonOperator(
            task_id=task_ids.PUBLISH,
            python_callable=_import_task("publish:publish"),
            op_kwargs={"pipeline": name},
            outlets=assets.build_outlets(pipeline),
            # When two tasks insert the same new asset at once, as in a backfill, Airflow 3.3.2 fails the second one,
            # although it has published.
            max_active_tis_per_dag=1,
        )
        clean_up_task = PythonOperator(
            task_id=task_ids.CLEAN_UP,
            python_callable=_import_task("clean_up:clean_up"),
            # The pages read these from the DAG in Airflow's database, which users cannot write.
            op_kwargs={
                "pipeline": name,
                "aws_conn_id": pipeline.aws_conn_id,
                "region": pipeline.region,
                "runs_prefix": build_runs_prefix(work=pipeline.work, pipeline=name),
            },
            on_success_callback=callbacks.build_report_callback(pipeline),
        )

        planned >> first_task
        clean_up_task.as_teardown(on_failure_fail_dagrun=True)
        join_task >> checks_task >> publish_task >> clean_up_task
        if not has_preprocess:
            # When one mapped job fails, clean_up waits for the sensors of the others: a sensor whose job is stopped
            # starts it again.
            dag.get_task(task_ids.AWAIT_TRANSFORM) >> clean_up_task
    # Added when the tasks are there: Airflow would copy them into each task, and read them from the DAG all the same.
    dag.params.update({param: Param(**spec) for param, spec in build_param_specs(pipeline).items()})
    set_task_docs(dag)
    return dag


def _build_approval_task(pipeline: Pipeline) -> Any:
    if not has_feature("approval"):
        problem = f"approve needs Airflow 3.1 or later, and this is {AIRFLOW_VERSION_TEXT}; write fail"
        raise PipelineError(f"{pipeline.name}.yaml", (f"goals.on_over_budget: {problem}",))
    from batch_inference.dag.approval import BudgetApprovalOperator

    return BudgetApprovalOperator(task_id=task_ids.AWAIT_APPROVAL, pipeline=pipeline.name)


def _build_access_control(pipeline: Pipeline) -> Any:
    """Airflow's `access_control`; None without it."""
    return {
        role: {resource: set(actions) for resource, actions in resources.items()}
        for role, resources in pipeline.access_control.items()
    } or None


def _add_tasks_with_preprocess(pipeline: Pipeline) -> tuple[Any, Any]:
    """Add the tasks from preprocess to join of a pipeline with `preprocess`; return the first and the last."""
    preprocess_ids = task_ids.PREPROCESS, task_ids.AWAIT_PREPROCESS
    preprocess, await_preprocess = add_job(
        pipeline, "preprocess", *preprocess_ids, {}, sensor_class=PreprocessJobSensor
    )
    before_transform: Any = await_preprocess
    wait_task, stats_key = SHARD_STATS
    instance_count = template_xcom_value(wait_task, ".instance_count", stats_key)
    values, instance_types = {"instance_count": instance_count}, None
    if pipeline.goals.calibrate == "canary":
        before_transform = add_canary_tasks(pipeline, await_preprocess)
        values = {
            "instance_count": template_xcom_value(task_ids.CALIBRATE, ".instance_count"),
            "instance_type": template_xcom_value(task_ids.CALIBRATE, ".instance_types[0]"),
        }
        instance_types = template_xcom_value(task_ids.CALIBRATE, ".instance_types | join(' ')")
    continuation = BadRecordContinuation() if pipeline.transform.on_bad_records == "reject" else None
    trials: list[Any] = []
    if pipeline.goals.calibrate == "explore":
        before_transform, trial_group = add_trial_tasks(pipeline, await_preprocess, continuation)
        trials.append(trial_group)
    transform, await_transform = add_job(
        pipeline,
        "transform",
        task_ids.TRANSFORM,
        task_ids.AWAIT_TRANSFORM,
        {"source_uri": template_preprocess_paths().features, **values},
        instance_types=instance_types,
        continuation=continuation,
        resume=True,
    )
    preprocess >> await_preprocess
    before_transform >> transform >> await_transform
    return preprocess, _add_join_tasks(pipeline, [await_transform, *trials], await_preprocess.output)


def _add_tasks_without_preprocess(pipeline: Pipeline) -> tuple[Any, Any]:
    """Add the tasks from cut to join of a pipeline without `preprocess`; return the first and the last.

    Each job has its own pair of tasks that submit it and wait for it, so that no job waits until another one fits into
    the account's quota.
    """
    task_args: dict[str, Any] = {"op_kwargs": {"pipeline": pipeline.name, "shape": pipeline.dag_shape}}
    cut_task = PythonOperator(
        task_id=task_ids.CUT_INPUT, python_callable=_import_task("cut_input:cut_input"), **task_args
    )
    manifests_task = PythonOperator(
        task_id=task_ids.WRITE_MANIFESTS,
        python_callable=_import_task("cut_input:write_manifests"),
        **task_args,
    )

    @task_group(group_id="transform_jobs", prefix_group_id=False)
    def transform_jobs(job: Any) -> None:  # noqa: ARG001 - the tasks find it by their map index, in templates
        mine = "[ti.map_index]"
        add_job(
            pipeline,
            "transform",
            task_ids.TRANSFORM,
            task_ids.AWAIT_TRANSFORM,
            {
                "model_name": template_job_name("model", is_shared_by_map_indexes=True),
                "source_uri": template_xcom_value(task_ids.WRITE_MANIFESTS, f"{mine}.manifest"),
                "instance_count": template_xcom_value(task_ids.WRITE_MANIFESTS, f"{mine}.instance_count"),
                "trial": template_xcom_value(task_ids.WRITE_MANIFESTS, f"{mine}.trial"),
            },
            is_mapped=True,
            resume=True,
        )

    transform_group = transform_jobs.expand(job=manifests_task.output)
    join_task = _map_join(pipeline, cut_task.output)
    cut_task >> manifests_task >> transform_group >> join_task
    return cut_task, join_task


def _add_join_tasks(pipeline: Pipeline, upstream: list[Any], groups: Any) -> Any:
    """Add the tasks that join the `groups` of shards after `upstream`; return the last, which outputs the parts.

    They run also when the last of several upstream tasks, the trials, are skipped.
    """
    task_args = {"pipeline": pipeline.name, "shape": pipeline.dag_shape}
    rule: dict[str, Any] = {} if len(upstream) < 2 else {"trigger_rule": TriggerRule.NONE_FAILED}
    if pipeline.join.processing_above is None:
        join_mapped = _map_join(pipeline, groups, **rule)
        upstream >> join_mapped
        return join_mapped
    choose_task = BranchPythonOperator(
        task_id=task_ids.CHOOSE_JOIN,
        python_callable=_import_task("choose_join:choose_join"),
        op_kwargs=task_args,
        **rule,
    )
    join_mapped = _map_join(pipeline, groups)
    values = {
        "instance_count": template_xcom_value(task_ids.CHOOSE_JOIN, ".instance_count", "job"),
        "join_inputs": template_xcom_value(task_ids.CHOOSE_JOIN, ".inputs", "job"),
    }
    submit_task, await_task = add_job(pipeline, "join", task_ids.JOIN_JOB, task_ids.AWAIT_JOIN_JOB, values)
    collect_task = PythonOperator(
        task_id=task_ids.COLLECT_PARTS,
        python_callable=_import_task("choose_join:collect_parts"),
        op_kwargs={**task_args, "parts": join_mapped.output},
        trigger_rule="none_failed_min_one_success",
    )
    upstream >> choose_task >> [join_mapped, submit_task]
    submit_task >> await_task >> collect_task
    return collect_task


def _map_join(pipeline: Pipeline, groups: Any, **operator_args: Any) -> Any:
    """The task that joins, mapped over the groups."""
    task_args = {"pipeline": pipeline.name, "shape": pipeline.dag_shape}
    return PythonOperator.partial(
        task_id=task_ids.JOIN,
        python_callable=_import_task("join_group:join_group"),
        **operator_args,
    ).expand(op_kwargs=groups.map(lambda group: {**task_args, "group": group}))


def _import_task(path: str) -> Callable[..., Any]:
    """The task function at `path` below `batch_inference.dag.tasks`, imported when called; it reports failures."""
    return report_failures(import_on_call(f"batch_inference.dag.tasks.{path}"))
