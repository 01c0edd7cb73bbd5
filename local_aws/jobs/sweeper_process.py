"""Starts the sweeper process and reports to it which process groups the server started."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

SWEEPER = Path(__file__).with_name("sweeper.py")


class SweeperProcess:
    """The sweeper process of `work_root`; `close` starts the sweep at once and waits for it."""

    def __init__(self, work_root: Path) -> None:
        self._lock = threading.Lock()
        # -I -S: no site packages, which halves its start and its memory.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SWEEPER), str(work_root)],
            stdin=subprocess.PIPE,
            text=True,
            # Ctrl-C in a terminal goes to the whole group; the sweeper must outlive it.
            start_new_session=True,
        )

    def add_process_group(self, process_group: int) -> None:
        """Kill this process group if the server dies."""
        self._send(f"+{process_group}\n")

    def remove_process_group(self, process_group: int) -> None:
        """The process group has ended; its number may be reused."""
        self._send(f"-{process_group}\n")

    def close(self) -> None:
        """Sweep now."""
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.write(line)
                self._process.stdin.flush()
