"""A model that costs time and nothing else, for measuring sizes of clusters on one machine."""

from __future__ import annotations

import json
import threading
import time
from contextlib import nullcontext

from include.local_aws.images.serving import Request, Response


class Sleeper:
    """Answers each line with its length, after `per_request` + `per_record` times lines seconds.

    `start` is the time before /ping answers; `workers` requests sleep at once, further ones wait (0: no limit).
    """

    def __init__(
        self, *, per_record: float, per_request: float = 0.0, start: float = 0.0, workers: int = 0
    ) -> None:
        self._per_record = per_record
        self._per_request = per_request
        self._workers = threading.Semaphore(workers) if workers else nullcontext()
        self._count = workers
        time.sleep(start)

    def execution_parameters(self) -> bytes | None:
        if not self._count:
            return None
        return json.dumps({"MaxConcurrentTransforms": self._count}).encode()

    def invoke(self, request: Request) -> Response:
        lines = request.body.splitlines()
        with self._workers:
            time.sleep(self._per_request + self._per_record * len(lines))
        return Response("".join(f"{len(line)}\n" for line in lines).encode(), request.accept or "text/csv")
