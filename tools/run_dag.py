"""Run one DAG once, in this process, through Airflow's own task runner, and tell what happens as JSON lines.

Started by `tools.run`, which gives a file descriptor for the events; everything Airflow prints goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.listeners import hookimpl
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.listener import get_listener_manager

from include.orchestration.approval import BudgetApproval
from sagemaker_jobs.operators import JobOperator
from sagemaker_jobs.sensors import JobSensor
from tools.laptop import REPO


class Progress:
    """An Airflow listener that writes one event per start and end of a task."""

    def __init__(self, descriptor: int) -> None:
        self.out = os.fdopen(descriptor, "w", buffering=1)

    def tell(self, event: str, **facts: Any) -> None:
        """Write one event with the time it happened, in epoch seconds."""
        self.out.write(json.dumps({"event": event, "time": time.time(), **facts}) + "\n")

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task begins, or goes on after it was deferred."""
        self.tell("running", task=task_instance.task_id, map_index=task_instance.map_index)

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task ended well."""
        self.tell("success", task=task_instance.task_id, map_index=task_instance.map_index)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG002 (pluggy matches by name)
        """A task failed; says what it raised."""
        self.tell("failed", task=task_instance.task_id, map_index=task_instance.map_index, error=str(error))


def load(dag_id: str) -> DAG:
    """The DAG of this id, from its file in `dags/`; exits with the import error when it does not load."""
    bag = DagBag(
        os.environ["AIRFLOW__CORE__DAGS_FOLDER"], bundle_path=REPO / "dags", bundle_name="dags-folder"
    )
    dag = bag.dags.get(dag_id)
    if dag is None:
        sys.exit(f"no DAG {dag_id!r}; import errors: {bag.import_errors}; DAGs: {sorted(bag.dags)}")
    return dag


def without_retries(dag: DAG) -> DAG:
    """A person who waits in front of a terminal wants the first failure, not the third after two delays.

    Nor an hour's patience until AWS has room again, nor a question that no UI shows.
    """
    for task in dag.tasks:
        if isinstance(task, BudgetApproval):
            task.nobody_to_ask = True
        if isinstance(task, JobOperator | JobSensor):
            task.room_patience_seconds = 0
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
    progress = Progress(arguments.events)
    get_listener_manager().add_listener(progress)  # type: ignore[no-untyped-call]  # Airflow's
    run = without_retries(load(arguments.dag_id)).test(run_conf=json.loads(arguments.conf.read_text()))
    progress.tell("finished", state=str(run.state), run_id=run.run_id)


if __name__ == "__main__":
    main()
