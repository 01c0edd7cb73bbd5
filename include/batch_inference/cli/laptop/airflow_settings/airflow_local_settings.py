"""Airflow's local settings on a laptop, imported at start-up: faster SQLite commits and AWS clients.

https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html#configuring-local-settings
"""

from __future__ import annotations

import functools
from typing import Any

import botocore.loaders
import botocore.session
from sqlalchemy import event
from sqlalchemy.engine import Engine

__all__: list[str] = []

_new_loader = functools.cache(botocore.loaders.create_loader)


def get_loader(search_path_string: str | None = None) -> botocore.loaders.Loader:
    """One loader for all sessions: each would read the models of AWS's services, half a second for SageMaker's."""
    loader = _new_loader(search_path_string)
    # Each boto3 session adds the same one.
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)
    return loader


botocore.session.create_loader = get_loader


@event.listens_for(Engine, "connect")
def set_sqlite_synchronous_normal(connection: Any, _record: Any) -> None:
    """Set SQLite's `synchronous` to NORMAL, as its documentation recommends with a write-ahead log.

    SQLite has one writer at a time; on a slow disk the others time out while it syncs. A power failure may lose the
    last transactions of a laptop's runs; the database stays consistent: https://www.sqlite.org/wal.html
    """
    if "sqlite" not in type(connection).__module__:
        return
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
