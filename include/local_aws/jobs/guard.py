"""The server's side of the sweeper: says which process groups are its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

SWEEPER = Path(__file__).with_name("sweeper.py")


class Guard:
    """Starts the sweeper for `work_root`; `close` lets it do its work at once and waits for it."""

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

    def add(self, group: int) -> None:
        """From now on this process group dies with the server."""
        self._say(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group has ended; its number may come to belong to others."""
        self._say(f"-{group}\n")

    def close(self) -> None:
        """Sweep now."""
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.write(line)
                self._process.stdin.flush()
