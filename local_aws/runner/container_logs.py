"""Writes job logs to CloudWatch Logs: timestamped lines, delivered in batches by one thread."""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# Limits of PutLogEvents: 10,000 events and 1,048,576 bytes a call, 26 bytes counted on top of each event.
BATCH_EVENTS = 5_000
BATCH_BYTES = 900_000
EVENT_OVERHEAD = 26
LINE_BYTES = 200_000
QUEUE_LINES = 20_000
MAX_FAILED_DELIVERIES = 5


class CloudWatchJobLogs:
    """The log group of one job. `write_line` is thread-safe; it blocks while the queue is full."""

    def __init__(self, client: Any, kind: str, flush_seconds: float) -> None:
        self._client = client
        self._group = f"/aws/sagemaker/{kind.capitalize()}Jobs"
        self._flush_seconds = flush_seconds
        self._queue: queue.Queue[tuple[str, int, str] | None] = queue.Queue(QUEUE_LINES)
        self._streams: set[str] = set()
        self._failed_deliveries = 0
        self._thread = threading.Thread(target=self._deliver, name="logs", daemon=True)
        self._thread.start()

    def write_line(self, stream: str, text: str) -> None:
        self._queue.put((stream, int(time.time() * 1000), text[:LINE_BYTES] or " "))

    def write_data_log(self, stream: str, text: str) -> None:
        """A line of the service itself, in the data-log next to the container's stream."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        self.write_line(f"{stream}/data-log", f"{stamp}:[sagemaker logs]: {text}")

    def close(self) -> None:
        """Delivers what is left."""
        self._queue.put(None)
        self._thread.join()

    def _deliver(self) -> None:
        open_ = True
        while open_:
            pending: dict[str, list[dict[str, Any]]] = {}
            events = size = 0
            until = time.monotonic() + self._flush_seconds
            while events < BATCH_EVENTS and size < BATCH_BYTES:
                try:
                    item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if item is None:
                    open_ = False
                    break
                stream, stamp, text = item
                pending.setdefault(stream, []).append({"timestamp": stamp, "message": text})
                events += 1
                size += len(text.encode(errors="replace")) + EVENT_OVERHEAD
            for stream, batch in pending.items():
                self._put(stream, batch)

    def _put(self, stream: str, batch: list[dict[str, Any]]) -> None:
        """A failed delivery does not fail the job; it is written to the runner's own log."""
        if self._failed_deliveries >= MAX_FAILED_DELIVERIES:
            return
        batch.sort(key=lambda event: event["timestamp"])
        try:
            if stream not in self._streams:
                self._create(stream)
            self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=batch)
            self._failed_deliveries = 0
        except (ClientError, BotoCoreError) as error:
            self._failed_deliveries += 1
            sys.stderr.write(f"{len(batch)} lines not delivered to {self._group}, stream {stream}: {error}\n")

    def _create(self, stream: str) -> None:
        for call, names in (
            (self._client.create_log_group, {"logGroupName": self._group}),
            (self._client.create_log_stream, {"logGroupName": self._group, "logStreamName": stream}),
        ):
            try:
                call(**names)
            except self._client.exceptions.ResourceAlreadyExistsException:
                continue
        self._streams.add(stream)
