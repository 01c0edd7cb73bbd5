"""Documents of a task that only the latest of its processes may write.

Airflow starts the next try of a task whose worker it has lost, and the one that it lost may wake up later. Each process
notes the ETags of the documents when it begins, and replaces them on the condition that nobody did since. One that
wakes up before it has noted them would note those of its successor: so Airflow is asked next whether the task is over.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from include.orchestration.storage import Storage


class OvertakenError(Exception):
    """Another process of the same task has written what this one was about to write. Trying again is right."""


#: States of a task that no process of it may write anything for any more.
OVER = {"success", "failed", "upstream_failed", "skipped", "removed"}


def check_not_over(ti: Any) -> None:
    """To be called once the ETags are noted on which a task's documents are replaced.

    Raises:
        OvertakenError: Airflow says that the task is over, so that this is a process that it has given up.
    """
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
    state = next(iter(found.get(ti.run_id, {}).values()), None)
    if state in OVER:
        raise OvertakenError(
            f"Airflow says that `{ti.task_id}` of {ti.run_id} is over ({state}): this process of it comes too late, "
            f"and writes nothing"
        )


class Claim:
    """The right to replace documents as they were when the task began.

    `token` is this process's alone. A document that has it is never the same, byte for byte and so by its ETag, as one
    that another process wrote of the same facts.

    Raises:
        OvertakenError: see `check_not_over`.
    """

    def __init__(self, ti: Any, storage: Storage, *uris: str) -> None:
        self.storage = storage
        self.token = secrets.token_hex(4)
        self._etags = {uri: storage.etag(uri) for uri in uris}
        check_not_over(ti)

    def write(self, uri: str, content: str, *, content_type: str = "application/json") -> None:
        """Put one of the documents.

        Raises:
            OvertakenError: it is not as this process found it, or left it.
        """
        etag = self.storage.commit(uri, content, replacing=self._etags[uri], content_type=content_type)
        if etag is None:
            raise OvertakenError(
                f"{uri} was written by another process of this task since this one began; it stays as it is"
            )
        self._etags[uri] = etag

    def write_json(self, uri: str, document: Mapping[str, Any]) -> None:
        """Put one of the documents as JSON, indented for people and with the token; see `write`."""
        marked = {**document, "written_by": self.token}
        self.write(uri, json.dumps(marked, indent=2, ensure_ascii=False) + "\n")
