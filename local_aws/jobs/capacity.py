"""Counts the free instances of each type; types not listed are unlimited."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from local_aws.faults import FaultInjector


class Capacity:
    """Acquires and releases instances; acquiring is atomic, so two jobs never get the same one."""

    def __init__(self, instance_counts: Mapping[str, int], faults: FaultInjector) -> None:
        self._free = dict(instance_counts)
        self._faults = faults
        self._lock = threading.Lock()

    def acquire_first(self, clusters: list[tuple[str, int]], job_name: str) -> tuple[str, int] | None:
        """Acquire the first of `clusters` (type, count) that is free; None if none is, or a fault is armed."""
        if self._faults.take_matching(("capacity",), job_name=job_name) is not None:
            return None
        with self._lock:
            for instance_type, instance_count in clusters:
                if self._free.get(instance_type, instance_count) >= instance_count:
                    if instance_type in self._free:
                        self._free[instance_type] -= instance_count
                    return instance_type, instance_count
        return None

    def release(self, cluster: tuple[str, int]) -> None:
        """Return the instances that `acquire_first` gave."""
        instance_type, instance_count = cluster
        with self._lock:
            if instance_type in self._free:
                self._free[instance_type] += instance_count
