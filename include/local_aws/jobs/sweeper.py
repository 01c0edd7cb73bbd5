"""Run beside the server, as a process of its own; when the server is gone, remove what it left behind.

    python sweeper.py WORK_ROOT < lines of "+PID" and "-PID"

A killed server cannot tidy up. Its end closes this process's standard input, and then every process group still
listed is killed, as is every process at work below WORK_ROOT, and WORK_ROOT is removed. Standard library
only, and run by its path, so that it costs little while it waits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ATTEMPTS = 50
PAUSE_SECONDS = 0.1


def follow(lines: Iterable[str]) -> set[int]:
    """Process groups that were listed and not crossed out when the input ended."""
    groups: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if sign == "+":
            groups.add(int(number))
        elif sign == "-":
            groups.discard(int(number))
    return groups


def at_work_below(root: Path) -> Iterator[int]:
    """Processes whose working directory or command line is below `root`, this one left out."""
    marker = f"{root}{os.sep}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            working = os.fsencode(os.readlink(entry / "cwd")) + os.sep.encode()  # noqa: PTH115 - bytes follow
            if working.startswith(marker) or marker in (entry / "cmdline").read_bytes():
                yield int(entry.name)


def sweep(root: Path, groups: Iterable[int]) -> bool:
    """Kill the groups and whoever is at work below `root`, and remove it; False if it would not go."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(ATTEMPTS):
        left = list(at_work_below(root))
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)
        if not left and not root.exists():
            return True
        time.sleep(PAUSE_SECONDS)
    return False


if __name__ == "__main__":
    work_root = Path(sys.argv[1])
    listed = follow(sys.stdin)
    sys.exit(0 if sweep(work_root, listed) else 1)
