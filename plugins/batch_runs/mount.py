"""The pages as Airflow mounts them, without importing them yet.

Airflow loads plugins in every process, each task's among them; only the api-server ever asks for a page, and the pages
bring the whole of FastAPI and of Airflow's security along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application: `batch_runs.app`, imported at the first request."""
    from batch_runs.app import app

    await app(scope, receive, send)
