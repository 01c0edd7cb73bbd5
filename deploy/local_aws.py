"""Runs the embedded AWS as a service of docker-compose.yaml, with the pipelines' buckets and the sample.

The embedded AWS listens on loopback only, which inside a container is the container itself. This service forwards
connections from the compose network, which is local to this machine, to it.
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

import batch_inference
from batch_inference.cli.laptop.environment import (
    LaptopError,
    create_s3_client,
    keep_files_private,
    run_embedded_aws,
)
from batch_inference.cli.laptop.sample import prepare_buckets

CHUNK_BYTES = 65_536
#: Beside the package, as in the checkout.
PIPELINES_FOLDER = Path(batch_inference.__file__).resolve().parents[1] / "pipelines"


async def copy_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender has finished; a connection that breaks ends the copy."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def start_forwarder(listen: tuple[str, int], target: tuple[str, int]) -> asyncio.Server:
    """Listen on one address and forward every connection to the other; the listening server."""

    async def handle_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*target)
        except OSError as error:
            sys.stderr.write(f"{target[0]}:{target[1]} refuses connections: {error}\n")
            writer.close()
            return
        try:
            await asyncio.gather(copy_stream(reader, there_writer), copy_stream(there_reader, writer))
        finally:
            there_writer.close()
            writer.close()

    return await asyncio.start_server(handle_connection, *listen)


async def serve_until_signal(endpoint: str, host: str, port: int) -> None:
    """Forward connections until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    address = urlsplit(endpoint)
    server = await start_forwarder((host, port), (address.hostname or "127.0.0.1", address.port or 80))
    where = server.sockets[0].getsockname()
    sys.stdout.write(f"embedded AWS on http://{where[0]}:{where[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def main() -> int:
    """Run until stopped; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local_aws", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 for any free port")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder for its state and the sample")
    # All addresses of the container; `ports` in docker-compose.yaml decides what is reachable from outside.
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - see above
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        help="host name that other containers use for it; repeatable",
    )
    arguments = parser.parse_args()
    try:
        settings = {"host_names": json.dumps(arguments.host_name)}
        running_aws = run_embedded_aws(arguments.data_dir / "aws", settings=settings)
        with keep_files_private(arguments.data_dir), running_aws as endpoint:
            prepare_buckets(create_s3_client(endpoint), arguments.data_dir / "sample", PIPELINES_FOLDER)
            asyncio.run(serve_until_signal(endpoint, arguments.host, arguments.port))
    except LaptopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
