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
from types import SimpleNamespace

import psutil
import pytest

from local_aws.images.serving import Request
from local_aws.images.sleeper import model
from local_aws.runner.containers.images import BUILT_IN_IMAGES_FILE
from local_aws.runner.memory import measure_memory_bytes
from tests.integration.local_aws.runner.harness import wait_until

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
        deadline = time.monotonic() + 120
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


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=120)


def call(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    connection = connect(port)
    try:
        connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def child_pids() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def test_the_sleeper_takes_its_time_per_record(start: Start) -> None:
    port = start("sleeper", SLEEPER_SECONDS_PER_RECORD="0.1")
    began = time.monotonic()
    assert call(port, "POST", "/invocations", b"a\nbb\nccc\n") == (200, b"1\n2\n3\n")
    assert time.monotonic() - began >= 0.3
    assert call(port, "GET", "/execution-parameters")[0] == 404


def test_the_sleepers_time_is_what_its_variables_say_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(model, "time", SimpleNamespace(sleep=slept.append))
    sleeper = model.Sleeper({"SLEEPER_SECONDS_PER_RECORD": "2", "SLEEPER_SECONDS_PER_REQUEST": "100"})
    assert sleeper.invoke(Request(b"a\nbb\nccc\n", "text/csv", None)).body == b"1\n2\n3\n"
    assert slept == [0, 106]


def test_requests_are_served_at_the_same_time_up_to_the_workers_it_has(start: Start) -> None:
    """Of eight requests four are in flight, as the memory that they hold shows; the others come after them."""
    port = start("sleeper", SLEEPER_SECONDS_PER_RECORD="600", SLEEPER_MB_PER_RECORD="40", SLEEPER_WORKERS="4")
    before = measure_memory_bytes(child_pids())
    connections = [connect(port) for _ in range(8)]
    for connection in connections:
        connection.request("POST", "/invocations", b"a")
    forty_mb = 40 * model.MEBIBYTE
    wait_until(lambda: measure_memory_bytes(child_pids()) - before >= 4 * forty_mb)
    assert measure_memory_bytes(child_pids()) - before < 5 * forty_mb
    for connection in connections:
        connection.close()

    port = start("sleeper", SLEEPER_SECONDS_PER_RECORD="0.3", SLEEPER_WORKERS="4")
    assert call(port, "GET", "/execution-parameters") == (200, b'{"MaxConcurrentTransforms": 4}')
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(port, "POST", "/invocations", b"a"), range(8)))
    assert answers == [(200, b"1\n")] * 8
    assert time.monotonic() - began >= 0.6


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
    answers: set[tuple[int, bytes]] = set()

    def have_two_answered() -> bool:
        with ThreadPoolExecutor(8) as pool:
            answers.update(pool.map(lambda _: call(port, "POST", "/invocations", b"[]"), range(40)))
        return len(answers) > 1

    wait_until(have_two_answered)  # the first may be up, and answer them all, before the others are
    assert {status for status, _ in answers} == {200}
