"""What Airflow takes from a folder on its path when it starts, before it opens its database; only a laptop's does.

https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html#configuring-local-settings
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

__all__: list[str] = []


@event.listens_for(Engine, "connect")
def write_without_waiting_for_the_disk(connection: Any, _record: Any) -> None:
    """Let SQLite answer before a transaction is on the disk, as its makers advise with a write-ahead log.

    Only one may write at a time, and all others wait while the disk does; on a slow one they give up. What a power cut
    may take is the last moments of a laptop's runs; the database stays whole: https://www.sqlite.org/wal.html
    """
    if "sqlite" not in type(connection).__module__:
        return
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
