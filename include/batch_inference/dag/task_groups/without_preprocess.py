"""Adds the tasks from cut to join of a pipeline without `preprocess`."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import task_group

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import add_job
from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks.cut_input import cut_input
from batch_inference.dag.tasks.join_group import join_group
from batch_inference.dag.tasks.write_manifests import write_manifests
from batch_inference.dag.templates import template_job_name, template_xcom_value
from batch_inference.run import task_ids


def add_tasks_without_preprocess(pipeline: Pipeline) -> tuple[Any, Any]:
    """Add the tasks to the current DAG; return the first and the last.

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
        add_job(
            pipeline,
            "transform",
            task_ids.TRANSFORM,
            task_ids.AWAIT_TRANSFORM,
            {
                "model_name": template_job_name("model", is_shared_by_map_indexes=True),
                "source_uri": template_xcom_value(task_ids.WRITE_MANIFESTS, "[ti.map_index].manifest"),
                "instance_count": template_xcom_value(
                    task_ids.WRITE_MANIFESTS, "[ti.map_index].instance_count"
                ),
            },
            is_mapped=True,
            resume=True,
        )

    transform_group = transform_jobs.expand(job=manifests_task.output)
    join_task = PythonOperator.partial(task_id=task_ids.JOIN, python_callable=no_retry(join_group)).expand(
        op_kwargs=cut_task.output.map(lambda group: {**arguments, "group": group})
    )
    cut_task >> manifests_task >> transform_group >> join_task
    return cut_task, join_task
