"""Loopback addresses for the hosts of a job, which no other process of this machine uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from batch_inference.jobs.preprocess.peers import PORT


@contextmanager
def reserve_network() -> Iterator[str]:
    """Reserve addresses; yields their beginning, such as `127.130.7.`, to which 1 to 253 are added.

    A socket at .254 holds them. Not drawn from `random`: hypothesis seeds it, so that every process draws the same.
    """
    while True:
        second, third = os.urandom(2)
        network = f"127.{second | 128}.{third}."
        with socket.socket() as holder:
            try:
                holder.bind((f"{network}254", PORT))
            except OSError:
                continue  # another process has it
            yield network
            return
