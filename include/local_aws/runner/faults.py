"""Faults on demand: which of a job's faults are due on a host."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from include.local_aws.runner.spec import Fault


class Faults:
    """Each fault happens once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._waiting = list(faults)
        self._lock = threading.Lock()

    def due(self, host: str, *, objects: int | None, seconds: float) -> Fault | None:
        """The next fault of `host` whose time has come, given objects done and seconds since its containers started."""
        with self._lock:
            for fault in self._waiting:
                if fault.host == host and _has_come(fault, objects, seconds):
                    self._waiting.remove(fault)
                    return fault
        return None


def _has_come(fault: Fault, objects: int | None, seconds: float) -> bool:
    if fault.after_objects is not None:
        return objects is not None and objects >= fault.after_objects
    return seconds >= (fault.after_seconds or 0.0)
