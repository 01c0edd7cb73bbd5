"""Run one DAG once, in this process, through Airflow's own task runner; writes events as JSON lines.

Started by `batch-inference run`, which passes a file descriptor for the events; Airflow's own output goes to standard
output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from sagemaker_jobs.airflow_compat import get_listener_manager, load_dag_bag
from sagemaker_jobs.operators import JobOperator
from sagemaker_jobs.sensors import JobSensor


class TaskEventListener:
    """An Airflow listener that writes one event per start and end of a task."""

    def __init__(self, descriptor: int) -> None:
        self.out = os.fdopen(descriptor, "w", buffering=1)

    def write_event(self, event: str, **fields: Any) -> None:
        """Write one event with the time it happened, in epoch seconds."""
        self.out.write(json.dumps({"event": event, "time": time.time(), **fields}) + "\n")

    def write_task_event(self, event: str, task_instance: Any, **fields: Any) -> None:
        self.write_event(event, task=task_instance.task_id, map_index=task_instance.map_index, **fields)

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task starts, or resumes after it was deferred."""
        self.write_task_event("running", task_instance)

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task succeeded."""
        self.write_task_event("success", task_instance)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task failed; the event has the whole message, of which the exception is the headline."""
        failure = getattr(error, "failure", None)
        self.write_task_event(
            "failed", task_instance, error=str(error) if failure is None else failure.describe()
        )


def load_dag(dag_id: str, progress: TaskEventListener) -> DAG:
    """The DAG of this id, from its file in `dags/`; exits with the import error when it does not load."""
    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    bag = load_dag_bag(folder, bundle_path=Path(folder))
    dag = bag.dags.get(dag_id)
    if dag is None:
        sys.exit(f"no DAG {dag_id!r}; import errors: {bag.import_errors}; DAGs: {sorted(bag.dags)}")
    progress.write_event("loaded", dags=sorted(bag.dags), import_errors=bag.import_errors)
    return dag


def make_fail_at_once(dag: DAG) -> DAG:
    """Set retries and waits for capacity to zero, and let the approval fail instead of asking.

    On a terminal the first failure should show at once, and there is no UI that could answer an approval.
    """
    for task in dag.tasks:
        if hasattr(task, "rejects_unasked"):  # BudgetApprovalOperator, which Airflow 3.0 cannot import
            task.rejects_unasked = True
        if isinstance(task, JobOperator | JobSensor):
            task.capacity_wait_seconds = 0
        if isinstance(task, MappedOperator):
            task.partial_kwargs["retries"] = 0
        else:
            task.retries = 0
    return dag


def main() -> None:
    """Parse arguments, run, and exit 0 whatever the DAG run's state: the state is in the `finished` event."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dag_id")
    parser.add_argument("--conf", type=Path, required=True, help="file with the run's conf as JSON")
    parser.add_argument("--events", type=int, required=True, help="open file descriptor for the events")
    arguments = parser.parse_args()
    progress = TaskEventListener(arguments.events)
    get_listener_manager().add_listener(progress)  # type: ignore[no-untyped-call]  # Airflow's
    dag = make_fail_at_once(load_dag(arguments.dag_id, progress))
    run = dag.test(run_conf=json.loads(arguments.conf.read_text()))
    progress.write_event("finished", state=str(run.state), run_id=run.run_id)


if __name__ == "__main__":
    main()
