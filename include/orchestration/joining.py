"""The part of the chain that joins: mapped tasks and, where the pipeline states `join.processing_above`, a job too.

joining ─┬─▶ join (mapped) ───────────────┬─▶ joined
branch   └─▶ join_job ─▶ join_job_done ───┘   the parts, whoever wrote them
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator

from include.orchestration import names
from include.orchestration.planned_jobs import PlannedProcessingJob, PlannedProcessingWait
from include.orchestration.refusals import final
from include.orchestration.requests import join_config
from include.orchestration.tasks.join import join
from include.orchestration.tasks.join_job import joined, joining
from include.orchestration.templates import earlier_names_of_job, from_plan, submitted, types_from_plan
from include.scoring.config import Pipeline
from sagemaker_jobs.kinds import PROCESSING


def join_tasks(
    pipeline: Pipeline, after: BaseOperator, groups: XComArg, submits: dict[str, Any], waits: dict[str, Any]
) -> BaseOperator | MappedOperator:
    """The tasks that join the `groups` of shards, `after` the predictions are there.

    `submits` and `waits` are arguments of tasks that submit a job or wait for one: where it runs, and in which pool.

    What is returned is the last of them; its output is the joined parts.
    """
    body = {"pipeline": pipeline.name, "shape": pipeline.shape}
    mapped = PythonOperator.partial(task_id=names.JOIN, python_callable=final(join)).expand(
        op_kwargs=groups.map(lambda group: {**body, "group": group})
    )
    if pipeline.join.processing_above is None:
        after >> mapped
        return mapped
    branch = BranchPythonOperator(task_id=names.JOINING, python_callable=final(joining), op_kwargs=body)
    job = PlannedProcessingJob(
        task_id=names.JOIN_JOB,
        pipeline=pipeline,
        build=join_config,
        instance_types=types_from_plan("join.job"),
        replaces=earlier_names_of_job("join"),
        **submits,
    )
    done = PlannedProcessingWait(
        task_id=names.JOIN_JOB_DONE,
        pipeline=pipeline,
        job_name=submitted(names.JOIN_JOB, PROCESSING),
        spec=XComArg(job, key="spec"),
        stop_after_seconds=from_plan("join.job.max_runtime_seconds"),
        **waits,
    )
    parts = PythonOperator(
        task_id=names.JOINED,
        python_callable=final(joined),
        op_kwargs={**body, "parts": mapped.output},
        trigger_rule="none_failed_min_one_success",
    )
    after >> branch >> [mapped, job]
    job >> done >> parts
    return parts
