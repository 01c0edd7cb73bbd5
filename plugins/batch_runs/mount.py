"""What the plugin registers: the pages' app, and their places in Airflow's UI.

Airflow loads plugins in every process, including each task's; only the api-server serves pages, and they import FastAPI
and Airflow's security modules. So the app is imported at the first request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


URL_PREFIX = "/batch-inference"
_PLACES = (
    ("nav", "", {"category": "browse", "url_route": "batch-inference"}),
    ("dag", "runs?dag_id={DAG_ID}", {"url_route": "batch-inference-pipeline"}),
    ("dag_run", "run?dag_id={DAG_ID}&run_id={RUN_ID}", {"url_route": "batch-inference-run"}),
    (
        "task_instance",
        "task?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
        {"url_route": "batch-inference-task"},
    ),
)
#: A navigation entry, and tabs of a DAG, of a run and of a task instance. Airflow shows them in a frame of the same
#: origin, with the user's login, and fills in the names in braces. The URLs are relative: to the UI's own base URL.
EXTERNAL_VIEWS: list[dict[str, Any]] = [
    {"name": "Batch inference", "href": f"batch-inference/{page}", "destination": place, **more}
    for place, page, more in _PLACES
]


async def serve_pages(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application: `batch_runs.app`, imported at the first request."""
    from batch_runs.app import app

    await app(scope, receive, send)
