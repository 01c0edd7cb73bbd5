"""The embedded AWS as a service of docker-compose.yaml: with the pipelines' buckets and the sample in it, open to the
other containers.

The embedded AWS listens on loopback only. Inside a container that is the container itself, so connections from the
compose network, which ends at this machine, are passed on to it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tools.laptop import LaptopError, embedded_aws, private_files, s3_client
from tools.pipelines import prepare

CHUNK = 65_536


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender has finished; a connection that breaks ends the copy."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def forward(listen: tuple[str, int], target: tuple[str, int]) -> asyncio.Server:
    """Listen on one address and pass every connection on to the other; the listening server."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*target)
        except OSError as error:
            sys.stderr.write(f"{target[0]}:{target[1]} does not take a connection: {error}\n")
            writer.close()
            return
        try:
            await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer))
        finally:
            there_writer.close()
            writer.close()

    return await asyncio.start_server(connected, *listen)


async def serve(endpoint: str, host: str, port: int) -> None:
    """Pass connections on until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    address = urlsplit(endpoint)
    server = await forward((host, port), (address.hostname or "127.0.0.1", address.port or 80))
    where = server.sockets[0].getsockname()
    sys.stdout.write(f"embedded AWS on http://{where[0]}:{where[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def main() -> int:
    """Run until stopped; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local_aws", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 lets the system choose")
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="where its state and the sample are kept"
    )
    # All addresses of the container; what leaves it is decided by `ports` in docker-compose.yaml.
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - see above
    parser.add_argument(
        "--host-name", action="append", default=[], help="name by which other containers call it; repeatable"
    )
    arguments = parser.parse_args()
    try:
        settings = {"host_names": json.dumps(arguments.host_name)}
        state = embedded_aws(arguments.data_dir / "aws", settings=settings)
        with private_files(arguments.data_dir), state as endpoint:
            prepare(s3_client(endpoint), arguments.data_dir / "sample")
            asyncio.run(serve(endpoint, arguments.host, arguments.port))
    except LaptopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
