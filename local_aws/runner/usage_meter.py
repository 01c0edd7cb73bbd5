"""Usage of one instance, for billing: busy time, objects, requests, records, bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class UsageMeter:
    """Figures of one instance. Busy is the time with at least one request in flight (or the container's run time)."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._lock = threading.Lock()
        self._in_flight = 0
        self._busy_since = 0.0
        self._busy_seconds = 0.0
        self._counts = {"objects": 0, "requests": 0, "records": 0, "bytes_in": 0, "bytes_out": 0}
        self._started: float | None = None
        self._ended: float | None = None

    def start(self) -> None:
        self._started = time.time()

    def end(self) -> None:
        self._ended = time.time()

    @contextmanager
    def track_busy(self) -> Iterator[None]:
        with self._lock:
            self._in_flight += 1
            if self._in_flight == 1:
                self._busy_since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                if self._in_flight == 0:
                    self._busy_seconds += time.monotonic() - self._busy_since

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    @property
    def objects(self) -> int:
        return self._counts["objects"]

    def to_dict(self) -> dict[str, Any]:
        """As the `finished` event carries them; times are epoch seconds."""
        with self._lock:
            busy = self._busy_seconds + (time.monotonic() - self._busy_since if self._in_flight else 0.0)
            return {
                "host": self.host,
                "started": self._started,
                "ended": self._ended,
                "busy_seconds": round(busy, 6),
                **self._counts,
            }
