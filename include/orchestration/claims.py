"""Documents of a task that only the latest of its processes may write.

Airflow starts the next try of a task whose worker it has lost, and the one that it lost may wake up later. Each process
notes the ETags of the documents when it begins, and replaces them on the condition that nobody did since.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from include.orchestration.storage import Storage


class OvertakenError(Exception):
    """Another process of the same task has written what this one was about to write. Trying again is right."""


class Claim:
    """The right to replace documents as they were when the task began.

    `token` is this process's alone. A document that has it is never the same, byte for byte and so by its ETag, as one
    that another process wrote of the same facts.
    """

    def __init__(self, storage: Storage, *uris: str) -> None:
        self.storage = storage
        self.token = secrets.token_hex(4)
        self._etags = {uri: storage.etag(uri) for uri in uris}

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
