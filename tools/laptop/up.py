"""`make up`: the embedded AWS and Airflow with its UI, on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping

from tools.laptop.airflow_processes import AirflowProcesses
from tools.laptop.environment import (
    STATE_DIR,
    LaptopError,
    build_airflow_environment,
    create_s3_client,
    keep_files_private,
    run_embedded_aws,
    start_migration,
    wait_for_migration,
)
from tools.laptop.sample import SAMPLE_PIPELINE
from tools.pipelines import prepare_buckets

#: Fixed ports, so that a connection configured elsewhere stays valid. Environment variables change them.
AWS_PORT = int(os.environ.get("AWS_PORT", "5600"))
AIRFLOW_PORT = int(os.environ.get("AIRFLOW_PORT", "8080"))


def run_airflow(environment: Mapping[str, str], endpoint: str) -> None:
    """Start Airflow, print its URLs, and wait until it ends or is interrupted."""
    airflow = AirflowProcesses(environment, api_port=AIRFLOW_PORT, reparse_seconds=10)
    try:
        airflow.start()
        airflow.wait_until_healthy()
        airflow.wait_for_dag(SAMPLE_PIPELINE)
        airflow.api.call("PATCH", f"/dags/{SAMPLE_PIPELINE}", {"is_paused": False})
        print(f"\n  Airflow       {airflow.api.url}/dags/{SAMPLE_PIPELINE}   (no login; press Trigger)")
        print(f"  embedded AWS  {endpoint}")
        print(f"  logs          {airflow.home / 'logs'}\n\nCtrl-C stops everything.", flush=True)
        while True:
            airflow.raise_if_dead()
            time.sleep(1)
    finally:
        print("\nstopping", flush=True)
        airflow.stop()


def main() -> int:
    """Run until interrupted; the exit status."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C: stops everything that was started
    state = STATE_DIR / "up"
    try:
        print("starting the embedded AWS and Airflow (about a minute)", flush=True)
        with keep_files_private(STATE_DIR), run_embedded_aws(state / "aws", port=AWS_PORT) as endpoint:
            environment = build_airflow_environment(state / "airflow", endpoint)
            migration = start_migration(environment)
            prepare_buckets(create_s3_client(endpoint), STATE_DIR / "sample")
            wait_for_migration(migration, environment)
            run_airflow(environment, endpoint)
    except KeyboardInterrupt:
        return 0
    except LaptopError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
