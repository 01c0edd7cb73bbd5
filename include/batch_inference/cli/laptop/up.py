"""`batch-inference up`: the embedded AWS and Airflow with its UI, on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

import click

from batch_inference.cli.laptop.airflow_processes import AirflowProcesses
from batch_inference.cli.laptop.environment import (
    build_airflow_environment,
    create_s3_client,
    keep_files_private,
    run_embedded_aws,
    start_migration,
    wait_for_migration,
)
from batch_inference.cli.laptop.local_aws import render_settings
from batch_inference.cli.laptop.sample import prepare_buckets
from batch_inference.cli.project import find_project
from batch_inference.config.pipeline_files import list_pipeline_ids

#: Fixed ports, so that a connection configured elsewhere stays valid. Environment variables change them.
AWS_PORT = int(os.environ.get("AWS_PORT", "5600"))
AIRFLOW_PORT = int(os.environ.get("AIRFLOW_PORT", "8080"))


def run_airflow(environment: Mapping[str, str], endpoint: str, dag_ids: Sequence[str]) -> None:
    """Start Airflow, print its URLs, and wait until it ends or is interrupted."""
    airflow = AirflowProcesses(environment, api_port=AIRFLOW_PORT, reparse_seconds=10)
    try:
        airflow.start()
        airflow.wait_until_healthy()
        if dag_ids:
            airflow.wait_for_dag(dag_ids[0])
        for dag_id in dag_ids[:1]:
            airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        page = f"/dags/{dag_ids[0]}" if dag_ids else ""
        print(f"\n  Airflow       {airflow.api.url}{page}   (no login; press Trigger)")
        print(f"  embedded AWS  {endpoint}")
        print(f"  logs          {airflow.home / 'logs'}\n\n{render_settings(endpoint)}")
        print("\nCtrl-C stops everything.", flush=True)
        while True:
            airflow.raise_if_dead()
            time.sleep(1)
    finally:
        print("\nstopping", flush=True)
        airflow.stop()


@click.command()
@click.option(
    "--local-aws-python",
    metavar="PATH",
    default=sys.executable,
    help="Python of the environment that has the extra [local]; default: this one",
)
def command(local_aws_python: str) -> int:
    """The embedded AWS and Airflow with its UI on localhost, until Ctrl-C.

    The ports are 5600 and 8080; the environment variables AWS_PORT and AIRFLOW_PORT change them. The first pipeline of
    the project is unpaused.
    """
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C: stops everything that was started
    project = find_project()
    state = project.state_folder / "up"
    try:
        print("starting the embedded AWS and Airflow (about a minute)", flush=True)
        running_aws = run_embedded_aws(state / "aws", port=AWS_PORT, python=local_aws_python)
        with keep_files_private(project.state_folder), running_aws as endpoint:
            environment = build_airflow_environment(state / "airflow", endpoint, root=project.root)
            migration = start_migration(environment)
            prepare_buckets(
                create_s3_client(endpoint),
                project.state_folder / "sample",
                project.pipelines_folder,
                python=local_aws_python,
            )
            wait_for_migration(migration, environment)
            run_airflow(environment, endpoint, list_pipeline_ids(project.pipelines_folder))
    except KeyboardInterrupt:
        return 0
    return 0
