"""The stop flag of a job: set on a stop request, when the time limit is reached, or when a part of the job fails."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from local_aws.runner.failures import JobStoppedError


class StopFlag:
    """Set once, with the exception the job ends with. The first cause wins."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._cause: BaseException | None = None

    @property
    def cause(self) -> BaseException | None:
        return self._cause

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self, cause: BaseException) -> None:
        with self._lock:
            if self._cause is None:
                self._cause = cause
        self._event.set()

    def wait(self, seconds: float | None) -> bool:
        """Sleeps up to `seconds`; True as soon as the flag is set."""
        return self._event.wait(seconds)

    def raise_if_set(self) -> None:
        """Raises the cause if the flag is set."""
        if self._event.is_set() and self._cause is not None:
            raise self._cause


def stop_on_sigterm(stop_flag: StopFlag) -> None:
    """SIGTERM to the runner is StopTransformJob or StopProcessingJob."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # A handler runs between two bytecodes of the main thread, which may hold the flag's lock.
        threading.Thread(
            target=stop_flag.set, args=(JobStoppedError(f"signal {number}"),), daemon=True
        ).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def watch_parent(on_orphaned: Callable[[], None], interval_seconds: float = 1.0) -> None:
    """Calls `on_orphaned` when the process that started this one is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval_seconds)
        on_orphaned()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
