"""Places the pages in Airflow's UI: a navigation entry, a tab of a run, a tab of a task instance.

Airflow shows them in a frame of the same origin, with the user's login, and fills in the names in braces.
"""

from __future__ import annotations

from typing import Any

URL_PREFIX = "/batch-inference"
# Without a slash in front: the UI resolves it against its own base URL.
_HERE = URL_PREFIX.removeprefix("/")
_RUN = "dag_id={DAG_ID}&run_id={RUN_ID}"

EXTERNAL_VIEWS: list[dict[str, Any]] = [
    {
        "name": "Batch inference",
        "href": f"{_HERE}/",
        "destination": "nav",
        "category": "browse",
        "url_route": "batch-inference",
    },
    {
        "name": "Batch inference",
        "href": f"{_HERE}/run?{_RUN}",
        "destination": "dag_run",
        "url_route": "batch-inference-run",
    },
    {
        "name": "Batch inference",
        "href": f"{_HERE}/task?{_RUN}&task_id={{TASK_ID}}",
        "destination": "task_instance",
        "url_route": "batch-inference-task",
    },
]
