"""Airflow on the database that it asks for where much goes on at once: on SQLite one writer at a time gets on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, MutableMapping

from tests.deploy.image import image_environment
from tests.postgres import running_postgres
from tools.airflow_processes import DATABASE


@contextlib.contextmanager
def on_postgres(environment: MutableMapping[str, str]) -> Iterator[str]:
    """Point Airflow's environment to a PostgreSQL of its own while the block runs; gives the Python for Airflow.

    psycopg2 and asyncpg belong to the image, not to a laptop, so that it is the image's.
    """
    with running_postgres("airflow") as address:
        environment[DATABASE] = address
        yield str(image_environment() / "python")
