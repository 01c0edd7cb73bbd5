"""AWS's other services by moto, over HTTP, for tests that need no embedded AWS."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator

from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def running_moto() -> Iterator[str]:
    """A server while the block runs; gives its URL. It begins empty.

    moto keeps what it was told in the process, whichever server was told it: without the reset a file of tests would
    find what another one left.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30
        ).close()
        yield url
    finally:
        server.stop()
