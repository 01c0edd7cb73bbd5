"""The join tasks: mapped tasks and, with `join.processing_above` in the pipeline, a processing job too.

choose_join ─┬─▶ join (mapped) ───────────────────────┬─▶ collect_parts
branch       └─▶ join_job ─▶ await_join_job ──────────┘
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.job_configs import build_join_config
from batch_inference.dag.planned_jobs import PlannedProcessingJobOperator, PlannedProcessingJobSensor
from batch_inference.dag.task_functions import no_retry
from batch_inference.dag.tasks.choose_join import choose_join, collect_parts
from batch_inference.dag.tasks.join_group import join_group
from batch_inference.dag.templates import (
    template_earlier_job_names,
    template_instance_types,
    template_plan_value,
    template_submitted_job_name,
)
from batch_inference.run import task_ids
from sagemaker_jobs.kinds import PROCESSING


def add_join_tasks(
    pipeline: Pipeline,
    upstream: BaseOperator,
    groups: XComArg,
    submit_args: dict[str, Any],
    wait_args: dict[str, Any],
) -> BaseOperator | MappedOperator:
    """Add the tasks that join the `groups` of shards after `upstream`; return the last, which outputs the parts.

    `submit_args` and `wait_args` are arguments of the tasks that submit a job and wait for one, such as their pool.
    """
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
    submit_task = PlannedProcessingJobOperator(
        task_id=task_ids.JOIN_JOB,
        pipeline=pipeline,
        build=build_join_config,
        instance_types=template_instance_types("join.job"),
        replaces=template_earlier_job_names("join"),
        **submit_args,
    )
    await_task = PlannedProcessingJobSensor(
        task_id=task_ids.AWAIT_JOIN_JOB,
        pipeline=pipeline,
        job_name=template_submitted_job_name(task_ids.JOIN_JOB, PROCESSING),
        spec=XComArg(submit_task, key="spec"),
        max_runtime_seconds=template_plan_value("join.job.max_runtime_seconds"),
        **wait_args,
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
