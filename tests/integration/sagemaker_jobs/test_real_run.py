"""The whole chain of an operator and a sensor under Airflow's own task runner, by ``dag.test``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

DAG_FILE = """
from airflow.sdk import DAG
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.sagemaker_jobs.builders import processing_config, transform_config

NAME = "abalone-{{ ti.task_id }}-{{ ti.max_tries }}"

with DAG("jobs", schedule=None, params={"count": 2}) as dag:
    config = processing_config(NAME)
    config["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = "{{ params.count }}"
    preprocess = ProcessingJobOperator(task_id="preprocess", config=config)
    await_preprocess = ProcessingJobSensor(
        task_id="await_preprocess",
        job_name="{{ ti.xcom_pull('preprocess')['Processing']['ProcessingJobName'] }}",
        spec=preprocess.output["spec"],
        first_poll_seconds=0.2,
        max_poll_seconds=1,
        max_runtime_seconds="{{ 3600 * params.count }}",
    )
    transform = TransformJobOperator(task_id="transform", config=transform_config(NAME))
    await_transform = TransformJobSensor(
        task_id="await_transform",
        job_name="{{ ti.xcom_pull('transform')['Transform']['TransformJobName'] }}",
        spec=transform.output["spec"],
        first_poll_seconds=0.2,
        max_poll_seconds=1,
    )
    preprocess >> await_preprocess >> transform >> await_transform
"""


@pytest.fixture
def run_dag(
    airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: FakeSageMaker
) -> Callable[[], Any]:
    """Runs the DAG above from a bundle of its own, and returns the finished DagRun."""
    import json

    (tmp_path / "jobs_dag.py").write_text(DAG_FILE)
    bundles = [
        {
            "name": "test",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(tmp_path)},
        }
    ]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))

    def run() -> Any:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import sync_bag_to_db

        from sagemaker_jobs.airflow_compat import DagBag

        DagBundlesManager().sync_bundles_to_db()
        bag = DagBag(tmp_path / "jobs_dag.py", bundle_path=tmp_path, bundle_name="test")
        assert bag.import_errors == {}
        sync_bag_to_db(bag, "test", None)
        return bag.dags["jobs"].test()

    return run


def finish_jobs(aws: FakeSageMaker, stop: threading.Event) -> None:
    """Completes each job one second after it was created, as AWS would in its time."""
    while not stop.wait(0.1):
        with aws.lock:
            due = [name for name, job in aws.jobs.items() if job["CreationTime"] < time.time() - 1]
        for name in due:
            if aws.status(name) == "InProgress":
                aws.end(name)


def test_the_chain_runs_and_hands_on_a_small_account(run_dag: Callable[[], Any], aws: FakeSageMaker):
    """Operators submit, sensors defer and return a JobResult; each job is created once."""
    stop = threading.Event()
    threading.Thread(target=finish_jobs, args=(aws, stop), daemon=True).start()
    try:
        run = run_dag()
    finally:
        stop.set()
    assert run.state == "success"
    states = {ti.task_id: ti for ti in run.get_task_instances()}
    assert {name: ti.state for name, ti in states.items()} == dict.fromkeys(
        ["preprocess", "await_preprocess", "transform", "await_transform"], "success"
    )
    assert (aws.count("CreateProcessingJob"), aws.count("CreateTransformJob"), aws.count("CreateModel")) == (
        1,
        1,
        1,
    )
