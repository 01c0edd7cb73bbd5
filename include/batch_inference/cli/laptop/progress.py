"""Prints the progress of `make run`: one line per task as it ends, and the running tasks."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Mapping
from typing import Any

from batch_inference.common.formatting import format_duration
from batch_inference.reporting.text import wrap
from batch_inference.run.task_ids import CLEAN_UP

#: Without a terminal to redraw, a line is printed this often while a task goes on.
PRINT_INTERVAL_SECONDS = 15.0


class RunFollower:
    """Reads the events of `batch_inference.cli.laptop.run_dag` and prints them.

    Attributes: `dags`, the ids of the DAGs folder, and `import_errors` by its files, once the DAG is loaded; `state`
    and `run_id` of the DAG run once it has finished, `errors` by task.
    """

    def __init__(self) -> None:
        self.dags: list[str] = []
        self.import_errors: dict[str, str] = {}
        self.state: str | None = None
        self.run_id: str | None = None
        self.errors: dict[str, str] = {}
        self.started_at: dict[str, float] = {}
        self.is_terminal = sys.stdout.isatty()
        self.last_line_at = time.time()

    def follow(self, descriptor: int) -> None:
        """Read events until the writer closes its end."""
        buffer = b""
        with os.fdopen(descriptor, "rb", buffering=0) as events:
            while True:
                if not select.select([events], [], [], 0.5)[0]:
                    self.show_running_tasks()
                    continue
                chunk = events.read(65536)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self.handle_event(json.loads(line))

    def handle_event(self, event: dict[str, Any]) -> None:
        """Print one event."""
        if event["event"] == "loaded":
            self.dags, self.import_errors = event["dags"], event["import_errors"]
            return
        if event["event"] == "finished":
            self.state, self.run_id = event["state"], event["run_id"]
            return
        task = event["task"] if event["map_index"] < 0 else f"{event['task']}[{event['map_index']}]"
        if event["event"] == "running":
            # A deferred task runs twice; its time counts from the first.
            self.started_at.setdefault(task, event["time"])
            return
        took = event["time"] - self.started_at.pop(task, event["time"])
        if event["event"] == "failed":
            self.errors[task] = event["error"]
        self.print_line(
            f"  {'FAILED' if event['event'] == 'failed' else 'done':<7} {task:<16} {format_duration(took):>12}"
        )

    def show_running_tasks(self) -> None:
        """Print the running tasks: redrawn in place on a terminal, at intervals elsewhere."""
        running = ", ".join(
            f"{task} {format_duration(time.time() - began)}" for task, began in self.started_at.items()
        )
        if not running:
            return
        if self.is_terminal:
            sys.stdout.write(f"\r\x1b[K  …       {running}")
            sys.stdout.flush()
        elif time.time() - self.last_line_at > PRINT_INTERVAL_SECONDS:
            self.print_line(f"  …       {running}")

    def print_line(self, text: str) -> None:
        """Print a line in place of the one that is redrawn."""
        sys.stdout.write(("\r\x1b[K" if self.is_terminal else "") + text + "\n")
        sys.stdout.flush()
        self.last_line_at = time.time()


def render_failure(errors: Mapping[str, str]) -> list[str]:
    """The task that failed first and its message; `errors` has the message of each task that failed, in that order.

    `clean_up` fails with every failed run, and says the same: its message counts only where it stands alone.
    """
    causes = {task: error for task, error in errors.items() if task != CLEAN_UP} or dict(errors)
    lines: list[str] = []
    for task, error in causes.items():
        lines += ["", f"{task} failed:", ""]
        for paragraph in error.strip().splitlines():
            lines += wrap(paragraph) or [""]
    return lines
