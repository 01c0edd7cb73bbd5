"""`make up`: the embedded AWS and Airflow with its UI, on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

from tools.airflow_processes import AirflowProcesses
from tools.laptop import (
    STATE,
    LaptopError,
    airflow_environment,
    embedded_aws,
    finish_migration,
    migrate,
    private_files,
    s3_client,
)
from tools.pipelines import prepare
from tools.sample import SAMPLE

#: The embedded AWS keeps this port, so that a connection typed elsewhere stays right; both can be moved.
AWS_PORT = int(os.environ.get("AWS_PORT", "5600"))
AIRFLOW_PORT = int(os.environ.get("AIRFLOW_PORT", "8080"))


def end(*_: object) -> NoReturn:
    """A terminated `make up` ends as an interrupted one does: everything it started is stopped."""
    raise KeyboardInterrupt


def unpause(airflow: AirflowProcesses) -> None:
    """Let the sample's DAG run on its schedule and on a press of Trigger."""
    airflow.wait_for_dag(SAMPLE)
    airflow.api.call("PATCH", f"/dags/{SAMPLE}", {"is_paused": False})


def serve(environment: Mapping[str, str], endpoint: str) -> None:
    """Start Airflow, say where it is, and stay until it ends or is interrupted."""
    airflow = AirflowProcesses(environment, api_port=AIRFLOW_PORT, reparse_seconds=10)
    try:
        airflow.start()
        airflow.wait_until_healthy()
        unpause(airflow)
        print(f"\n  Airflow       {airflow.api.url}/dags/{SAMPLE}   (no login; press Trigger)")
        print(f"  embedded AWS  {endpoint}")
        print(f"  logs          {airflow.home / 'logs'}\n\nCtrl-C stops all of it.", flush=True)
        while True:
            airflow.raise_if_dead()
            time.sleep(1)
    finally:
        print("\nstopping", flush=True)
        airflow.stop()


def main() -> int:
    """Run until interrupted; the exit status."""
    signal.signal(signal.SIGTERM, end)
    state = STATE / "up"
    try:
        print("starting the embedded AWS and Airflow (about a minute)", flush=True)
        with private_files(STATE), embedded_aws(state / "aws", port=AWS_PORT) as endpoint:
            environment = airflow_environment(state / "airflow", endpoint)
            migration = migrate(environment)
            prepare(s3_client(endpoint), STATE / "sample")
            finish_migration(migration, environment)
            serve(environment, endpoint)
    except KeyboardInterrupt:
        return 0
    except LaptopError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
