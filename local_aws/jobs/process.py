"""The server's processes: runners, which cannot outlive it, their environment, and the sweeper."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Variables that would point boto3 at another account or endpoint than SPEC.json names.
CREDENTIAL_VARIABLES = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_LOGS")
PLACEHOLDER_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
SWEEPER = Path(__file__).with_name("sweeper.py")
PR_SET_PDEATHSIG = 1
# Loaded here, since nothing may be imported or loaded between fork and exec of a threaded process.
_LIBC = ctypes.CDLL(None, use_errno=True)


def build_runner_environment(environ: Mapping[str, str], *, uses_built_in_s3: bool) -> dict[str, str]:
    """`environ` for runners: placeholder credentials for the built-in S3, the user's own for another S3."""
    dropped = CREDENTIAL_VARIABLES + ENDPOINT_VARIABLES if uses_built_in_s3 else ENDPOINT_VARIABLES
    kept = {name: value for name, value in environ.items() if name not in dropped}
    path = kept.get("PYTHONPATH", "")
    return {
        **(kept | PLACEHOLDER_CREDENTIALS if uses_built_in_s3 else PLACEHOLDER_CREDENTIALS | kept),
        "PYTHONPATH": f"{REPOSITORY}:{path}" if path else str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }


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
