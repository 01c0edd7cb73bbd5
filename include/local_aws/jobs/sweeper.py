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

SCANS = 100
PAUSE_SECONDS = 0.1
# One clean look is no proof: a process listed may be dead when it is looked at, and its child not be listed yet.
CLEAN_SCANS = 5


def follow(lines: Iterable[str]) -> tuple[set[int], bool]:
    """Process groups listed and not crossed out when the input ended, and whether any was ever listed."""
    groups: set[int] = set()
    ever = False
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if sign == "+":
            ever = True
            groups.add(int(number))
        elif sign == "-":
            groups.discard(int(number))
    return groups, ever


def at_work_below(root: Path) -> Iterator[int]:
    """Processes whose working directory or command line is below `root`, this one left out."""
    marker = f"{root}{os.sep}"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = os.fsdecode((entry / "cmdline").read_bytes())
            # A container's working directory cannot always be read, hence last.
            if marker in command or f"{(entry / 'cwd').readlink()}{os.sep}".startswith(marker):
                yield int(entry.name)


def sweep(root: Path, groups: Iterable[int], clean_scans: int = CLEAN_SCANS) -> bool:
    """Kill the groups and whoever is at work below `root`, and remove it; False if it would not go.

    It is done once `clean_scans` looks in a row have found nobody.
    """
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    clean = 0
    for _ in range(SCANS):
        left = list(at_work_below(root))
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)
        clean = 0 if left or root.exists() else clean + 1
        if clean >= clean_scans:
            return True
        time.sleep(PAUSE_SECONDS)
    return False


if __name__ == "__main__":
    work_root = Path(sys.argv[1])
    listed, any_ran = follow(sys.stdin)
    sys.exit(0 if sweep(work_root, listed, CLEAN_SCANS if any_ran else 1) else 1)
