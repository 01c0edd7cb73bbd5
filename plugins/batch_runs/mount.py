"""Mounts the pages without importing them until the first request.

Airflow loads plugins in every process, including each task's; only the api-server serves pages, and they import FastAPI
and Airflow's security modules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def serve_pages(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application: `batch_runs.app`, imported at the first request."""
    from batch_runs.app import app

    await app(scope, receive, send)
