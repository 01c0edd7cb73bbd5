"""Requests byte by byte, for what no client library sends."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"


class Answer(NamedTuple):
    """An HTTP answer; `headers` by their lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


def signed(service: str) -> tuple[str, str]:
    """The header of a request that is signed for a service."""
    return ("Authorization", SIGNED.format(service=service))


def send(
    url: str,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    host: str | None = "127.0.0.1",
    version: str = "HTTP/1.1",
    length: int | None = None,
) -> Answer:
    """Send one request and nothing after it. `host` None sends no Host; `length` other than the body's is a lie."""
    address = urlsplit(url)
    lines = [f"{method} {target} {version}", *([] if host is None else [f"Host: {host}"])]
    lines += [f"{name}: {value}" for name, value in headers]
    if not any(name.lower() == "transfer-encoding" for name, _ in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return _parsed(answer.read())


def _parsed(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]) if first else 0, headers, body)
