"""Injected faults of a job: which of them are due on a host."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from local_aws.runner.runner_spec import Fault


class FaultSchedule:
    """Each fault happens once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._waiting = list(faults)
        self._lock = threading.Lock()

    def pop_due_fault(self, host: str, *, objects_done: int | None, seconds_running: float) -> Fault | None:
        """Remove and return the next due fault of `host`; seconds count from the start of its containers."""
        with self._lock:
            for fault in self._waiting:
                if fault.host == host and _is_due(fault, objects_done, seconds_running):
                    self._waiting.remove(fault)
                    return fault
        return None


def _is_due(fault: Fault, objects: int | None, seconds: float) -> bool:
    if fault.after_objects is not None:
        return objects is not None and objects >= fault.after_objects
    return seconds >= (fault.after_seconds or 0.0)
