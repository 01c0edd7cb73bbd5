"""The tasks of this chain that differ from those of a pipeline with `preprocess`, between `plan` and `publish`."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import XComArg, task_group

from include.orchestration import names
from include.orchestration.direct.cut import cut
from include.orchestration.direct.join import join
from include.orchestration.direct.manifests import manifests
from include.orchestration.planned_jobs import PlannedTransformJob, PlannedTransformWait
from include.orchestration.refusals import final
from include.orchestration.requests import direct_transform_config
from include.orchestration.templates import earlier_names_of_job, from_plan, submitted, types_from_plan
from include.scoring.config import Pipeline
from sagemaker_jobs.kinds import TRANSFORM


def direct_tasks(pipeline: Pipeline, submits: dict[str, Any], waits: dict[str, Any]) -> tuple[Any, Any]:
    """The first and the last of the tasks; to be called within the DAG.

    `submits` and `waits` are arguments of tasks that submit a job or wait for one: where it runs, and in which pool.

    Each job is submitted and waited for by a pair of tasks of its own, so that none waits for another's place in the
    account's quota.
    """
    arguments = {"pipeline": pipeline.name, "shape": pipeline.shape}
    body: dict[str, Any] = {"op_kwargs": arguments}
    divided = PythonOperator(task_id=names.CUT, python_callable=final(cut), **body)
    listed = PythonOperator(task_id=names.MANIFESTS, python_callable=final(manifests), **body)

    @task_group(group_id="transform_jobs", prefix_group_id=False)
    def transform_jobs(job: Any) -> None:  # noqa: ARG001 - the tasks find it by their map index, in templates
        transform = PlannedTransformJob(
            task_id=names.TRANSFORM,
            pipeline=pipeline,
            build=direct_transform_config,
            instance_types=types_from_plan("transform"),
            resume=True,
            replaces=earlier_names_of_job("transform"),
            **submits,
        )
        PlannedTransformWait(
            task_id=names.TRANSFORMED,
            pipeline=pipeline,
            job_name=submitted(names.TRANSFORM, TRANSFORM, mapped=True),
            spec=XComArg(transform, key="spec"),
            keep_listing=True,
            stop_after_seconds=from_plan("transform.max_runtime_seconds"),
            **waits,
        )

    transformed = transform_jobs.expand(job=listed.output)
    joined = PythonOperator.partial(task_id=names.JOIN, python_callable=final(join)).expand(
        op_kwargs=divided.output.map(lambda group: {**arguments, "group": group})
    )
    divided >> listed >> transformed >> joined
    return divided, joined
