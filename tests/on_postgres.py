"""Airflow on the database that it asks for where much goes on at once: on SQLite one writer at a time gets on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, MutableMapping

from batch_inference.cli.laptop.airflow_processes import DATABASE_VARIABLE, AirflowProcesses, find_free_ports
from batch_inference.cli.laptop.environment import start_migration, wait_for_migration
from tests.deploy.image import image_environment
from tests.postgres import running_postgres


@contextlib.contextmanager
def use_postgres(environment: MutableMapping[str, str]) -> Iterator[str]:
    """Point Airflow's environment to a PostgreSQL of its own while the block runs; gives the Python for Airflow.

    psycopg2 and asyncpg belong to the image, not to a laptop, so that it is the image's.
    """
    python = str(image_environment() / "python")
    with running_postgres("airflow") as address:
        environment[DATABASE_VARIABLE] = address
        yield python


@contextlib.contextmanager
def running_airflow(
    environment: MutableMapping[str, str], prepare: Callable[[AirflowProcesses], None] = lambda _: None
) -> Iterator[AirflowProcesses]:
    """Airflow's components on a PostgreSQL of their own, healthy; `prepare` may change them before they start."""
    with use_postgres(environment) as python:
        wait_for_migration(start_migration(environment, python=python), environment)
        airflow = AirflowProcesses(environment, api_port=find_free_ports(1)[0], python=python)
        prepare(airflow)
        try:
            airflow.start()
            airflow.wait_until_healthy(timeout_seconds=600)
            yield airflow
        finally:
            airflow.stop()
