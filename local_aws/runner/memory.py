"""Memory of the containers of one instance: what they use, whether the instance has it, and the metric."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 1024 * 1024


def measure_memory_bytes(root_pids: Iterable[int]) -> int:
    """Memory that these processes and all below them have of their own, without files and libraries they map.

    Pages that processes share after a fork count for each of them.
    """
    return sum(_read_private_bytes(pid) for root in root_pids for pid in _iter_processes(root))


def _iter_processes(pid: int) -> Iterator[int]:
    """The process and all below it; those that end meanwhile are left out."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (thread / "children").read_text().split():
                    yield from _iter_processes(int(child))


def _read_private_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(resident) - int(shared)) * PAGE_BYTES
    return 0


class MemoryMeter:
    """Watches the memory of one instance and publishes it as SageMaker does.

    The metric is MemoryUtilization of /aws/sagemaker/TransformJobs or ProcessingJobs, in percent of the instance's
    memory, with the dimension Host `<job>/<instance>`. A data point is the largest value since the one before.
    """

    def __init__(self, client: Any, namespace: str, host: str, memory_mb: int, metric_seconds: float) -> None:
        self._client = client
        self._namespace = namespace
        self._host = host
        self._memory_bytes = memory_mb * MEBIBYTE
        self._metric_seconds = metric_seconds
        self._published_at = time.monotonic()
        self._peak_bytes = 0

    def is_exceeded_by(self, root_pids: Iterable[int]) -> bool:
        """Whether the containers below these processes have more than the instance's memory now."""
        used = measure_memory_bytes(root_pids)
        self._peak_bytes = max(self._peak_bytes, used)
        if time.monotonic() - self._published_at >= self._metric_seconds:
            self.publish()
        return used > self._memory_bytes

    def publish(self) -> None:
        """Send the data point; one that cannot be delivered does not fail the job, and is in the runner's own log."""
        share = min(1.0, self._peak_bytes / self._memory_bytes)
        datum = {
            "MetricName": "MemoryUtilization",
            "Dimensions": [{"Name": "Host", "Value": self._host}],
            "Timestamp": time.time(),
            "Value": round(100 * share, 3),
            "Unit": "Percent",
        }
        self._published_at, self._peak_bytes = time.monotonic(), 0
        try:
            self._client.put_metric_data(Namespace=self._namespace, MetricData=[datum])
        except (ClientError, BotoCoreError) as error:
            sys.stderr.write(f"MemoryUtilization of {self._host} was not delivered: {error}\n")
