"""Throttles calls with one token bucket per operation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Throttle:
    """Allows `rate` calls a second of each operation, `burst` at once; any number when rate is None."""

    def __init__(self, rate: float | None, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def allow(self, operation: str) -> bool:
        """Whether one more call may pass now."""
        if self._rate is None:
            return True
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.get(operation, (self._burst, now))
            tokens = min(self._burst, tokens + (now - then) * self._rate)
            allowed = tokens >= 1
            self._buckets[operation] = (tokens - 1 if allowed else tokens, now)
            return allowed
