"""Addresses of a processing job's instances, under which their containers reach each other by name, as on AWS."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from local_aws.runner.reservations import Reservation

HOSTS_FILE = Path("/etc/hosts")
#: 127.64.0 to 127.127.255: apart from the addresses that resolvers use. A job has at most 100 instances.
_NETWORKS = [f"127.{second}.{third}" for second in range(64, 128) for third in range(256)]


@contextlib.contextmanager
def reserve_addresses(hosts: Sequence[str]) -> Iterator[dict[str, str]]:
    """A loopback address for each host, which no other job on this machine has meanwhile."""
    for network in random.sample(_NETWORKS, len(_NETWORKS)):
        try:
            reservation = Reservation(f"network/{network}")
        except OSError:
            continue
        try:
            yield {host: f"{network}.{number}" for number, host in enumerate(hosts, 1)}
        finally:
            reservation.release()
        return
    raise OSError("no free network between 127.64.0.0 and 127.127.255.0")


def write_hosts_file(path: Path, addresses: dict[str, str]) -> None:
    """Write an /etc/hosts with these addresses by host; below them the machine's own."""
    lines = "".join(f"{address} {host}\n" for host, address in addresses.items())
    path.write_bytes(lines.encode() + HOSTS_FILE.read_bytes())


def find_unknown_hosts(hosts: Sequence[str]) -> list[str]:
    """The hosts whose names do not resolve on this machine itself."""
    unknown = []
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror:
            unknown.append(host)
    return unknown
