"""The event stream to the control plane: JSON lines on the runner's standard output."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, TextIO


class Events:
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

    def progress(self, done: int, total: int) -> None:
        """Reports objects done, no more often than the settings say; the last one always."""
        now = time.monotonic()
        with self._lock:
            if done < total and now - self._last_progress < self._progress_seconds:
                return
            self._last_progress = now
        self.send("progress", objects_done=done, objects_total=total)
