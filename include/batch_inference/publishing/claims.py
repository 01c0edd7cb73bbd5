"""Documents of a task that only the latest of its processes may write.

Airflow starts the next try of a task whose worker it has lost, and the lost process may wake up later. Each process
reads the ETags of the documents when it begins, and replaces a document only if its ETag is unchanged. A process that
is paused before it reads the ETags would read those of its successor, so it then asks Airflow whether the task has
finished.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from batch_inference.aws.s3 import Storage


class OvertakenError(Exception):
    """Another process of the same task has written the document first. A retry is safe."""


#: States of a task in which no process may write for it any more.
FINISHED_STATES = {"success", "failed", "upstream_failed", "skipped", "removed"}


def check_task_active(ti: Any) -> None:
    """Check that the task still runs; to be called after the ETags of its documents were read.

    Raises:
        OvertakenError: Airflow says that the task has finished, so this process is one that it has lost.
    """
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
    state = next(iter(found.get(ti.run_id, {}).values()), None)
    if state in FINISHED_STATES:
        raise OvertakenError(
            f"Airflow says that `{ti.task_id}` of {ti.run_id} is over ({state}): this process is too late, "
            f"and writes nothing"
        )


class DocumentClaim:
    """The ETags of a task's documents when the task began, on which this process may replace them.

    `token` is unique to this process: it makes a document differ, and so its ETag, from the same document of another
    process.

    Raises:
        OvertakenError: see `check_task_active`.
    """

    def __init__(self, ti: Any, storage: Storage, *uris: str) -> None:
        self.storage = storage
        self.token = secrets.token_hex(4)
        self._etags = {uri: storage.read_etag(uri) for uri in uris}
        check_task_active(ti)

    def write(self, uri: str, content: str, *, content_type: str = "application/json") -> None:
        """Put one of the documents.

        Raises:
            OvertakenError: another process has changed it since this one read or wrote it.
        """
        etag = self.storage.write_conditionally(
            uri, content, expected_etag=self._etags[uri], content_type=content_type
        )
        if etag is None:
            raise OvertakenError(
                f"{uri} was written by another process of this task since this one began, and stays as it is"
            )
        self._etags[uri] = etag

    def write_json(self, uri: str, document: Mapping[str, Any]) -> None:
        """Put one of the documents as indented JSON with the token; see `write`."""
        marked = {**document, "written_by": self.token}
        self.write(uri, json.dumps(marked, indent=2, ensure_ascii=False) + "\n")
