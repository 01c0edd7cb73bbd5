"""A model that only sleeps and holds memory, for measuring cluster sizes on one machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext

from local_aws.images.serving import Request, Response

MEBIBYTE = 1024 * 1024


class Sleeper:
    """Answers each line with its length, after a time per request and per line; its variables, all 0 by default:

    SLEEPER_SECONDS_PER_RECORD, SLEEPER_SECONDS_PER_REQUEST: the time of an answer.
    SLEEPER_START_SECONDS: the time before /ping answers.
    SLEEPER_MB_PER_RECORD: memory that a request has for each of its lines while it is answered.
    SLEEPER_WORKERS: how many requests sleep at once, further ones wait; 0 is no limit.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        def read_number(name: str) -> float:
            return float(environment.get(f"SLEEPER_{name}", "0"))

        self._per_record = read_number("SECONDS_PER_RECORD")
        self._per_request = read_number("SECONDS_PER_REQUEST")
        self._mb_per_record = read_number("MB_PER_RECORD")
        self._worker_count = int(read_number("WORKERS"))
        self._workers = threading.Semaphore(self._worker_count) if self._worker_count else nullcontext()
        time.sleep(read_number("START_SECONDS"))

    def get_execution_parameters(self) -> bytes | None:
        if not self._worker_count:
            return None
        return json.dumps({"MaxConcurrentTransforms": self._worker_count}).encode()

    def invoke(self, request: Request) -> Response:
        lines = request.body.splitlines()
        with self._workers:
            memory = b"\1" * int(self._mb_per_record * MEBIBYTE * len(lines))
            time.sleep(self._per_request + self._per_record * len(lines))
            del memory
        return Response("".join(f"{len(line)}\n" for line in lines).encode(), request.accept or "text/csv")
