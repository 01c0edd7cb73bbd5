"""The join tasks: mapped tasks and, with `join.processing_above` in the pipeline, a processing job too.

choose_join ─┬─▶ join (mapped) ───────────────────────┬─▶ collect_parts
branch       └─▶ join_job ─▶ await_join_job ──────────┘
"""

from __future__ import annotations

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import add_job
from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks.choose_join import choose_join, collect_parts
from batch_inference.dag.tasks.join_group import join_group
from batch_inference.dag.templates import template_xcom_value
from batch_inference.run import task_ids


def add_join_tasks(
    pipeline: Pipeline, upstream: BaseOperator, groups: XComArg
) -> BaseOperator | MappedOperator:
    """Add the tasks that join the `groups` of shards after `upstream`; return the last, which outputs the parts."""
    task_args = {"pipeline": pipeline.name, "shape": pipeline.dag_shape}
    join_mapped = PythonOperator.partial(task_id=task_ids.JOIN, python_callable=no_retry(join_group)).expand(
        op_kwargs=groups.map(lambda group: {**task_args, "group": group})
    )
    if pipeline.join.processing_above is None:
        upstream >> join_mapped
        return join_mapped
    choose_task = BranchPythonOperator(
        task_id=task_ids.CHOOSE_JOIN, python_callable=no_retry(choose_join), op_kwargs=task_args
    )
    submit_task, await_task = add_job(
        pipeline,
        "join",
        task_ids.JOIN_JOB,
        task_ids.AWAIT_JOIN_JOB,
        {
            "instance_count": template_xcom_value(task_ids.CHOOSE_JOIN, ".instance_count", "job"),
            "join_inputs": template_xcom_value(task_ids.CHOOSE_JOIN, ".inputs", "job"),
        },
    )
    collect_task = PythonOperator(
        task_id=task_ids.COLLECT_PARTS,
        python_callable=no_retry(collect_parts),
        op_kwargs={**task_args, "parts": join_mapped.output},
        trigger_rule="none_failed_min_one_success",
    )
    upstream >> choose_task >> [join_mapped, submit_task]
    submit_task >> await_task >> collect_task
    return collect_task
