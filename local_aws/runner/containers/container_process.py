"""One running container: a process group whose output goes to the job's log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from local_aws.runner.container_logs import LINE_BYTES
from local_aws.runner.containers.sandbox import Sandbox


class Container:
    """Started at once. It dies with the *thread* that made it (PR_SET_PDEATHSIG), so that thread must live as long."""

    def __init__(
        self,
        sandbox: Sandbox,
        argv: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        self.sandbox = sandbox
        self._process = subprocess.Popen(
            sandbox.build_command(argv),
            env=sandbox.build_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,  # as in a container, whatever the server's is
        )
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The first process of the container, below which all others are."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n, as container engines say."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """The exit code, or None if it still runs after `timeout_seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        return self.exit_code

    def terminate(self) -> None:
        """SIGTERM to the container's command, which container_init.py passes on."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL after the grace."""
        self.terminate()
        self.wait(grace_seconds)
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP to all of it: it hangs, deaf to SIGTERM, until it is killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone and its output has been read."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5.0)

    def _read(self, on_line: Callable[[str], None]) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with pipe:
            for line in iter(lambda: pipe.readline(LINE_BYTES), b""):
                on_line(line.decode(errors="replace").rstrip("\r\n"))
