"""A model that only sleeps, for measuring cluster sizes on one machine."""

from __future__ import annotations

import json
import threading
import time
from contextlib import nullcontext

from local_aws.images.serving import Request, Response


class Sleeper:
    """Answers each line with its length, after `seconds_per_request` + lines x `seconds_per_record`.

    `start_seconds` is the time before /ping answers; `workers` requests sleep at once, further ones wait (0: no limit).
    """

    def __init__(
        self,
        *,
        seconds_per_record: float,
        seconds_per_request: float = 0.0,
        start_seconds: float = 0.0,
        workers: int = 0,
    ) -> None:
        self._per_record = seconds_per_record
        self._per_request = seconds_per_request
        self._workers = threading.Semaphore(workers) if workers else nullcontext()
        self._worker_count = workers
        time.sleep(start_seconds)

    def get_execution_parameters(self) -> bytes | None:
        if not self._worker_count:
            return None
        return json.dumps({"MaxConcurrentTransforms": self._worker_count}).encode()

    def invoke(self, request: Request) -> Response:
        lines = request.body.splitlines()
        with self._workers:
            time.sleep(self._per_request + self._per_record * len(lines))
        return Response("".join(f"{len(line)}\n" for line in lines).encode(), request.accept or "text/csv")
