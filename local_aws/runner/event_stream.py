"""The event stream to the control plane: JSON lines on the runner's standard output."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, TextIO


class EventWriter:
    """Writes events, one JSON object a line; safe to call from several threads."""

    def __init__(self, stream: TextIO, progress_seconds: float) -> None:
        self._stream = stream
        self._progress_seconds = progress_seconds
        self._lock = threading.Lock()
        self._last_progress = 0.0

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **fields})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def send_progress(self, objects_done: int, objects_total: int) -> None:
        """Send objects done, at most once in `progress_seconds`; the last one always."""
        now = time.monotonic()
        with self._lock:
            if objects_done < objects_total and now - self._last_progress < self._progress_seconds:
                return
            self._last_progress = now
        self.send("progress", objects_done=objects_done, objects_total=objects_total)
