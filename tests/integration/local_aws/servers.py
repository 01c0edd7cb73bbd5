"""Start embedded AWS servers as processes of their own, as a user does, and end them in every way."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from batch_inference.cli.laptop.environment import run_embedded_aws_process
from tools.checkout import REPO

REPOSITORY = REPO
REGION = "us-east-1"


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
    texts = {name: json.dumps(value) for name, value in (settings or {}).items()}
    with run_embedded_aws_process(data_dir, port=port, settings=texts, environment=environ) as (process, url):
        yield Server(process, url, data_dir)
