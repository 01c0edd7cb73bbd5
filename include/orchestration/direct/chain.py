"""Adds the tasks from cut to join of a pipeline without `preprocess`."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import XComArg, task_group

from include.orchestration import names
from include.orchestration.direct.cut import cut_input
from include.orchestration.direct.join import join_piece_group
from include.orchestration.direct.manifests import write_manifests
from include.orchestration.planned_jobs import PlannedTransformJobOperator, PlannedTransformJobSensor
from include.orchestration.refusals import no_retry
from include.orchestration.requests import build_mapped_transform_config
from include.orchestration.templates import (
    template_earlier_job_names,
    template_instance_types,
    template_plan_value,
    template_submitted_job_name,
)
from include.scoring.config import Pipeline
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
    cut_task = PythonOperator(task_id=names.CUT_INPUT, python_callable=no_retry(cut_input), **task_args)
    manifests_task = PythonOperator(
        task_id=names.WRITE_MANIFESTS, python_callable=no_retry(write_manifests), **task_args
    )

    @task_group(group_id="transform_jobs", prefix_group_id=False)
    def transform_jobs(job: Any) -> None:  # noqa: ARG001 - the tasks find it by their map index, in templates
        transform = PlannedTransformJobOperator(
            task_id=names.TRANSFORM,
            pipeline=pipeline,
            build=build_mapped_transform_config,
            instance_types=template_instance_types("transform"),
            resume=True,
            replaces=template_earlier_job_names("transform"),
            **submit_args,
        )
        PlannedTransformJobSensor(
            task_id=names.AWAIT_TRANSFORM,
            pipeline=pipeline,
            job_name=template_submitted_job_name(names.TRANSFORM, TRANSFORM, is_mapped=True),
            spec=XComArg(transform, key="spec"),
            write_listing=True,
            stop_after_seconds=template_plan_value("transform.max_runtime_seconds"),
            **wait_args,
        )

    transform_group = transform_jobs.expand(job=manifests_task.output)
    join_task = PythonOperator.partial(task_id=names.JOIN, python_callable=no_retry(join_piece_group)).expand(
        op_kwargs=cut_task.output.map(lambda group: {**arguments, "group": group})
    )
    cut_task >> manifests_task >> transform_group >> join_task
    return cut_task, join_task
