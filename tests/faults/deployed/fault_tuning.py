"""Shorter waits for the DAGs of the fault suite, and one case's own changes; deployed beside them."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from sagemaker_jobs.operators import JobOperator
from sagemaker_jobs.sensors import JobSensor

RETRY_DELAY = timedelta(seconds=2)
POLL = {"first_poll_seconds": 2, "max_poll_seconds": 10}
FIRST_PAUSE_SECONDS = 8.0


def tuned(dag: DAG, changes: dict[str, dict[str, Any]]) -> DAG:
    """`changes` has new attributes by task id; those of the DAG itself stand under "dag"."""
    for task in dag.tasks:
        if isinstance(task, MappedOperator):
            task.partial_kwargs["retry_delay"] = RETRY_DELAY
            continue
        task.retry_delay = RETRY_DELAY
        if isinstance(task, JobOperator | JobSensor):
            task.first_retry_pause_seconds = FIRST_PAUSE_SECONDS
            for name, value in POLL.items():
                setattr(task, name, value)
    for task_id, attributes in changes.items():
        for name, value in attributes.items():
            setattr(dag if task_id == "dag" else dag.get_task(task_id), name, value)
    return dag
