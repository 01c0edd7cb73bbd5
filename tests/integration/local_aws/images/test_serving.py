"""The HTTP side of the built-in images, as processes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_aws.runner.containers.images import BUILT_IN_IMAGES_FILE

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an image outside a job, on a free port, and waits for /ping."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(image: str, **variables: str) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(tmp_path), **variables}
        processes.append(
            subprocess.Popen(
                [sys.executable, str(BUILT_IN_IMAGES_FILE.parent / "start.py"), image],
                env={**environment, "SAGEMAKER_BIND_TO_PORT": str(port)},
                stdout=(tmp_path / "log").open("wb"),
                start_new_session=True,
            )
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if call(port, "GET", "/ping")[0] == 200:
                    return port
            except OSError:
                time.sleep(0.05)
        raise AssertionError("no answer to /ping")

    yield run
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def call(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_sleeper_takes_its_time_per_record(start: Start) -> None:
    port = start("sleeper", SLEEPER_SECONDS_PER_RECORD="0.1")
    began = time.monotonic()
    assert call(port, "POST", "/invocations", b"a\nbb\nccc\n") == (200, b"1\n2\n3\n")
    assert 0.3 <= time.monotonic() - began < 3.0
    assert call(port, "GET", "/execution-parameters")[0] == 404


def test_requests_are_served_at_the_same_time_up_to_the_workers_it_has(start: Start) -> None:
    port = start("sleeper", SLEEPER_SECONDS_PER_RECORD="0.3", SLEEPER_WORKERS="4")
    assert call(port, "GET", "/execution-parameters") == (200, b'{"MaxConcurrentTransforms": 4}')
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(port, "POST", "/invocations", b"a"), range(8)))
    assert answers == [(200, b"1\n")] * 8
    assert 0.6 <= time.monotonic() - began < 2.2


def test_chunked_bodies_are_read_and_each_request_leaves_an_access_line(start: Start, tmp_path: Path) -> None:
    port = start("sleeper")
    pieces = iter([b"one\n", b"two", b"2\n"])
    assert call(port, "POST", "/invocations", pieces, **{"Transfer-Encoding": "chunked"}) == (200, b"3\n4\n")
    assert call(port, "GET", "/nothing")[0] == 404
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split('"', 1)[1] for line in lines[-2:]] == [
        'POST /invocations HTTP/1.1" 200 4 "-" "-"',
        'GET /nothing HTTP/1.1" 404 0 "-" "-"',
    ]


def test_several_processes_may_share_the_port(start: Start, tmp_path: Path) -> None:
    code = tmp_path / "model" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(
        "import os, time\n"
        "def model_fn(folder):\n    return None\n"
        "def transform_fn(model, body, content_type, accept):\n"
        "    time.sleep(0.05)\n    return str(os.getpid()), accept\n"
    )
    port = start("script_server", SAGEMAKER_MODEL_SERVER_WORKERS="3")
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda _: call(port, "POST", "/invocations", b"[]"), range(40)))
    assert len(answers) > 1
