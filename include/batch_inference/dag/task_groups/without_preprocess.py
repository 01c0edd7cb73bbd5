"""Adds the tasks from cut to join of a pipeline without `preprocess`."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import XComArg, task_group

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.job_configs import build_mapped_transform_config
from batch_inference.dag.planned_jobs import PlannedTransformJobOperator, PlannedTransformJobSensor
from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks.cut_input import cut_input
from batch_inference.dag.tasks.join_group import join_group
from batch_inference.dag.tasks.write_manifests import write_manifests
from batch_inference.dag.templates import (
    template_earlier_job_names,
    template_instance_types,
    template_plan_value,
    template_submitted_job_name,
)
from batch_inference.run import task_ids
from sagemaker_jobs.kinds import TRANSFORM


def add_tasks_without_preprocess(
    pipeline: Pipeline, submit_args: dict[str, Any], wait_args: dict[str, Any]
) -> tuple[Any, Any]:
    """Add the tasks to the current DAG; return the first and the last.

    `submit_args` and `wait_args` are arguments of the tasks that submit a job and wait for one, such as their pool.

    Each job has its own pair of tasks that submit it and wait for it, so that no job waits until another one fits into
    the account's quota.
    """
    arguments = {"pipeline": pipeline.name, "shape": pipeline.dag_shape}
    task_args: dict[str, Any] = {"op_kwargs": arguments}
    cut_task = PythonOperator(task_id=task_ids.CUT_INPUT, python_callable=no_retry(cut_input), **task_args)
    manifests_task = PythonOperator(
        task_id=task_ids.WRITE_MANIFESTS, python_callable=no_retry(write_manifests), **task_args
    )

    @task_group(group_id="transform_jobs", prefix_group_id=False)
    def transform_jobs(job: Any) -> None:  # noqa: ARG001 - the tasks find it by their map index, in templates
        transform = PlannedTransformJobOperator(
            task_id=task_ids.TRANSFORM,
            pipeline=pipeline,
            build=build_mapped_transform_config,
            instance_types=template_instance_types("transform"),
            resume=True,
            replaces=template_earlier_job_names("transform"),
            **submit_args,
        )
        PlannedTransformJobSensor(
            task_id=task_ids.AWAIT_TRANSFORM,
            pipeline=pipeline,
            job_name=template_submitted_job_name(task_ids.TRANSFORM, TRANSFORM, is_mapped=True),
            spec=XComArg(transform, key="spec"),
            write_listing=True,
            max_runtime_seconds=template_plan_value("transform.max_runtime_seconds"),
            **wait_args,
        )

    transform_group = transform_jobs.expand(job=manifests_task.output)
    join_task = PythonOperator.partial(task_id=task_ids.JOIN, python_callable=no_retry(join_group)).expand(
        op_kwargs=cut_task.output.map(lambda group: {**arguments, "group": group})
    )
    cut_task >> manifests_task >> transform_group >> join_task
    return cut_task, join_task
