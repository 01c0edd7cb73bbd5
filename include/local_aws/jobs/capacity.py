"""Instances that exist, by type; types not listed are never short."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from include.local_aws.faults import Faults


class Capacity:
    """Takes and gives back instances; taking is one step, so two jobs never get the same one."""

    def __init__(self, exist: Mapping[str, int], faults: Faults) -> None:
        self._free = dict(exist)
        self._faults = faults
        self._lock = threading.Lock()

    def take_first(self, choices: list[tuple[str, int]], job: str) -> tuple[str, int] | None:
        """The first of `choices` (type, count) that there is; None when there is none, or a fault says so."""
        if self._faults.take(("capacity",), job=job) is not None:
            return None
        with self._lock:
            for kind, count in choices:
                free = self._free.get(kind)
                if free is None or free >= count:
                    if free is not None:
                        self._free[kind] = free - count
                    return kind, count
        return None

    def give_back(self, taken: tuple[str, int]) -> None:
        """The instances of `take_first` are free again."""
        kind, count = taken
        with self._lock:
            if kind in self._free:
                self._free[kind] += count
