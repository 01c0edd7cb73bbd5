"""What `make run` shows while it runs: one line per task as it ends, and what is waited for."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

#: Without a terminal to redraw, a line is printed this often while a task goes on.
QUIET_SECONDS = 15.0


class Follower:
    """Reads the events of `tools.run_dag` and tells them.

    Attributes: `state` and `run_id` of the DAG run once it has finished, `errors` by task.
    """

    def __init__(self) -> None:
        self.state: str | None = None
        self.run_id: str | None = None
        self.errors: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.redraw = sys.stdout.isatty()
        self.last_line = time.time()

    def follow(self, descriptor: int) -> None:
        """Read events until the writer closes its end."""
        buffer = b""
        with os.fdopen(descriptor, "rb", buffering=0) as events:
            while True:
                if not select.select([events], [], [], 0.5)[0]:
                    self.waiting()
                    continue
                chunk = events.read(65536)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self.happened(json.loads(line))

    def happened(self, event: dict[str, Any]) -> None:
        """Tell one event."""
        if event["event"] == "finished":
            self.state, self.run_id = event["state"], event["run_id"]
            return
        task = event["task"] if event["map_index"] < 0 else f"{event['task']}[{event['map_index']}]"
        if event["event"] == "running":
            # A deferred task runs twice; its time counts from the first.
            self.began.setdefault(task, event["time"])
            return
        took = event["time"] - self.began.pop(task, event["time"])
        if event["event"] == "failed":
            self.errors[task] = event["error"]
        self.line(f"  {'FAILED' if event['event'] == 'failed' else 'done':<7} {task:<14} {took:6.1f} s")

    def waiting(self) -> None:
        """Tell what runs now: redrawn in place on a terminal, now and then elsewhere."""
        running = ", ".join(f"{task} {time.time() - began:.0f} s" for task, began in self.began.items())
        if not running:
            return
        if self.redraw:
            sys.stdout.write(f"\r\x1b[K  …       {running}")
            sys.stdout.flush()
        elif time.time() - self.last_line > QUIET_SECONDS:
            self.line(f"  …       {running}")

    def line(self, text: str) -> None:
        """Print a line in place of the one that is redrawn."""
        sys.stdout.write(("\r\x1b[K" if self.redraw else "") + text + "\n")
        sys.stdout.flush()
        self.last_line = time.time()
