"""Airflow's local settings on a laptop, imported at start-up: faster SQLite commits and AWS clients.

https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html#configuring-local-settings
"""

from __future__ import annotations

import functools
import inspect
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


def get_stack(context: int = 0) -> list[inspect.FrameInfo]:  # noqa: ARG001 - as inspect's
    """The frames without lines of their source files, and each with the file that its code names.

    Each hook looks for the operator that calls it by the frames' functions. Reading sources and looking for modules,
    as inspect does, takes longer than all else that a task does.
    """
    stack = []
    frame = inspect.currentframe()
    while frame := frame and frame.f_back:
        code = frame.f_code
        stack.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
    return stack


botocore.session.create_loader = get_loader
inspect.stack = get_stack


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
