"""The trial tasks: try other settings on a few shards, beside the transform of the others.

Which shards, `select_trials` says; without trials the others are skipped.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import task_group

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.planned_jobs import add_job
from batch_inference.dag.task_functions import import_on_call, report_failures
from batch_inference.dag.templates import template_job_name, template_xcom_value
from batch_inference.run import task_ids


def add_trial_tasks(pipeline: Pipeline, upstream: Any, continuation: Any) -> tuple[Any, Any]:
    """Add the trial tasks after `upstream`; return the first, and the group that submits the jobs and waits for them.

    `continuation` finds the records that the model refuses, of a job that follows a failed trial.
    """
    select_task = PythonOperator(
        task_id=task_ids.SELECT_TRIALS,
        python_callable=report_failures(
            import_on_call("batch_inference.dag.tasks.select_trials:select_trials")
        ),
        op_kwargs={"pipeline": pipeline.name, "shape": pipeline.dag_shape},
    )

    @task_group(group_id="trial_jobs", prefix_group_id=False)
    def trial_jobs(trial: Any) -> None:  # noqa: ARG001 - the tasks find it by their map index, in templates
        mine = "[ti.map_index]"
        add_job(
            pipeline,
            "transform",
            task_ids.TRANSFORM_TRIAL,
            task_ids.AWAIT_TRIAL,
            {
                "model_name": template_job_name("model", is_shared_by_map_indexes=True),
                "source_uri": template_xcom_value(task_ids.SELECT_TRIALS, f"{mine}.source"),
                "instance_count": "1",
                "trial": template_xcom_value(task_ids.SELECT_TRIALS, f"{mine}.trial"),
            },
            is_mapped=True,
            continuation=continuation,
            resume=True,
        )

    trial_group = trial_jobs.expand(trial=select_task.output)
    upstream >> select_task >> trial_group
    return select_task, trial_group
