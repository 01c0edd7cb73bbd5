"""Start embedded AWS servers as processes of their own, as a user does, and end them in every way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REPOSITORY = Path(__file__).resolve().parents[3]
REGION = "us-east-1"
START_SECONDS = 60


class Server:
    """One running server."""

    def __init__(self, process: subprocess.Popen[str], url: str, data_dir: Path) -> None:
        self.process = process
        self.url = url
        self.data_dir = data_dir

    def client(self, service: str, **config: Any) -> Any:
        """A plain boto3 client of this server; `config` goes to botocore's Config."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    def local(self, method: str, path: str, body: object = None) -> Any:
        """Call /_local/<path>; returns its JSON, also of an error answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_local/{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"status": error.code, **json.load(error)}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def run_server(
    data_dir: Path, settings: dict[str, Any] | None = None, *, port: int = 0, **environ: str
) -> Iterator[Server]:
    """A server with these settings (names as in --set), stopped at the end unless it ended before."""
    command = [sys.executable, "-m", "local_aws", "serve", "--port", str(port)]
    command += ["--data-dir", str(data_dir)]
    for name, value in (settings or {}).items():
        command += ["--set", f"{name}={json.dumps(value)}"]
    errors = data_dir.with_suffix(".stderr")
    with errors.open("a") as stderr:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    late = threading.Timer(START_SECONDS, process.kill)
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
        late.cancel()
        if not line.startswith("listening on "):
            process.wait(timeout=60)
            raise RuntimeError(f"the server did not start: {errors.read_text()}")
        server = Server(process, line.removeprefix("listening on ").strip(), data_dir)
        yield server
    finally:
        late.cancel()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()
