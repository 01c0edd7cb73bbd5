"""The service around the embedded AWS: connections from other containers are passed on, whole and both ways."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_inference.cli.laptop.sample import make_sample
from deploy.local_aws import start_forwarder
from tests.deploy.compose import read_compose_file
from tests.integration.local_aws.api.raw import send
from tools.checkout import REPO


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers everything at once, after the caller has finished."""
    writer.write((await reader.read(-1)).upper())
    await writer.drain()
    writer.close()


async def ask(port: int, text: bytes) -> bytes:
    """Send, finish, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read(-1)
    finally:
        writer.close()


async def scenario(texts: list[bytes]) -> list[bytes]:
    """Answers through the forwarder, all asked at the same time."""
    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    front = await start_forwarder(("127.0.0.1", 0), server.sockets[0].getsockname())
    port = front.sockets[0].getsockname()[1]
    try:
        return list(await asyncio.gather(*(ask(port, text) for text in texts)))
    finally:
        front.close()
        server.close()


def test_many_connections_pass_whole_at_the_same_time() -> None:
    """Each gets its own answer, also when it is larger than one read, and after it has stopped sending."""
    texts = [bytes([97 + number]) * size for number, size in enumerate((1, 1_000, 70_000, 1_000_000, 0))]
    assert asyncio.run(scenario(texts)) == [text.upper() for text in texts]


def test_a_connection_that_nobody_takes_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than left waiting; the service's log says so."""

    async def refused() -> bytes:
        server = await asyncio.start_server(upper, "127.0.0.1", 0)
        nobody = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        front = await start_forwarder(("127.0.0.1", 0), nobody)
        try:
            return await asyncio.wait_for(ask(front.sockets[0].getsockname()[1], b""), timeout=10)
        finally:
            front.close()

    assert asyncio.run(refused()) == b""
    assert "refuses connections" in capsys.readouterr().err


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The URL of the service, started by the command of docker-compose.yaml with paths and ports of this machine."""
    make_sample(tmp_path / "sample", rows=100)
    command = [
        {"python": sys.executable, "5600": "0", "/var/lib/local-aws": str(tmp_path)}.get(word, word)
        for word in read_compose_file()["services"]["local-aws"]["command"]
    ]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1"],
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": f"{REPO}:{REPO / 'include'}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = re.search(r"on (http://\S+)", process.stdout.readline())
        assert found is not None
        yield found[1]
        process.terminate()


def test_it_answers_to_its_name_in_the_compose_network_and_to_no_other(service: str) -> None:
    """Clients send `Host: local-aws:5600`; a page whose name leads to this machine sends its own."""
    hosts = {
        "local-aws:5600": 200,
        "localhost:5600": 200,
        "evil.example:5600": 403,
        "local-aws.evil.example": 403,
    }
    assert {host: send(service, "GET", "/_local/health", host=host).status for host in hosts} == hosts
    page = ("Origin", "http://local-aws:5600")
    assert send(service, "GET", "/_local/health", [page], host="local-aws:5600").status == 403
