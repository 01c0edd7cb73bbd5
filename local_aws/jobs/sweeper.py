"""Cleans up after a killed server, as a separate process: kills its process groups, removes its work directory.

    python sweeper.py WORK_ROOT < lines of "+PID" and "-PID"

A killed server cannot clean up. Its death closes this process's standard input; then every process group still
listed is killed, as is every process that works below WORK_ROOT, and WORK_ROOT is removed. It uses the standard
library only and is run by its path, so that it needs little memory while it waits.
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

MAX_SCANS = 100
PAUSE_SECONDS = 0.1
# One clean scan proves nothing: a process may die during the scan while its child is not listed yet.
CLEAN_SCANS = 5


def read_process_groups(lines: Iterable[str]) -> set[int] | None:
    """Process groups added and not removed when the input ended; None if none was ever added."""
    groups: set[int] | None = None
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if sign == "+":
            groups = {*(groups or ()), int(number)}
        elif sign == "-" and groups is not None:
            groups.discard(int(number))
    return groups


def find_processes_below(root: Path) -> Iterator[int]:
    """Processes whose working directory or command line is below `root`, except this one."""
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
    """Kill the groups and every process below `root`, and remove `root`; False if something remains.

    It ends once `clean_scans` scans in a row have found nothing.
    """
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    clean_in_a_row = 0
    for _ in range(MAX_SCANS):
        processes = list(find_processes_below(root))
        for process in processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)
        clean_in_a_row = 0 if processes or root.exists() else clean_in_a_row + 1
        if clean_in_a_row >= clean_scans:
            return True
        time.sleep(PAUSE_SECONDS)
    return False


if __name__ == "__main__":
    work_root = Path(sys.argv[1])
    listed = read_process_groups(sys.stdin)
    sys.exit(0 if sweep(work_root, listed or (), 1 if listed is None else CLEAN_SCANS) else 1)
