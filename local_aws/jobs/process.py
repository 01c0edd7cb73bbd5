"""Spawns the runner process so that it cannot outlive the server, and kills it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Loaded here, since nothing may be imported or loaded between fork and exec of a threaded process.
_LIBC = ctypes.CDLL(None, use_errno=True)


def _prepare_child(niceness: int) -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _LIBC.nice(niceness)


def spawn_runner(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stderr: Path, niceness: int = 0
) -> subprocess.Popen[str]:
    """Start `command` in its own session, standard output piped.

    PR_SET_PDEATHSIG follows the *thread* that spawned, so call this from the thread that lives as long as
    the job does. `niceness` is added to the server's own.
    """
    with stderr.open("ab") as log:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            # Safe in a threaded process: the child only calls libraries that are already loaded.
            preexec_fn=functools.partial(_prepare_child, niceness),
        )
    # Where the kernel groups processes by session (autogroup), the group's own niceness is what counts.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(niceness), encoding="ascii")
    return process


def signal_process_group(process: subprocess.Popen[str], signal_number: int) -> None:
    """Send a signal to the runner's process group; nothing happens if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal_number)
