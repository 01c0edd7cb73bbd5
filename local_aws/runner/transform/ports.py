"""Ports for model containers, each given to one container on this machine at a time.

Containers share the machine's network, and a server takes seconds to bind its port: two that were given the same one
would end with one of them answering for both. So a port is reserved for as long as its container is there.
"""

from __future__ import annotations

import random
import socket

from local_aws.runner.reservations import Reservation
from local_aws.runner.runner_settings import RunnerSettings

#: A container's own port is the first of a block of ten; the others are its SAGEMAKER_SAFE_PORT_RANGE.
PORT_BLOCK = 10


class PortReservation:
    """A block of ports that no other runner on this machine is given; `first_port` is the one to bind."""

    def __init__(self, settings: RunnerSettings) -> None:
        """Reserve a block at random. Raises OSError when none is left."""
        firsts = list(range(settings.port_first, settings.port_last - PORT_BLOCK + 2, PORT_BLOCK))
        random.shuffle(firsts)
        for first in firsts:
            try:
                reservation = Reservation(f"port/{first}")
            except OSError:
                continue
            if _is_free(first):
                self.first_port, self._reservation = first, reservation
                return
            reservation.release()
        raise OSError(f"no free port between {settings.port_first} and {settings.port_last}")

    @property
    def safe_port_range(self) -> str:
        """The block's other ports as SAGEMAKER_SAFE_PORT_RANGE spells them."""
        return f"{self.first_port + 1}-{self.first_port + PORT_BLOCK - 1}"

    def release(self) -> None:
        """Let others have the block; call it when the container has ended."""
        self._reservation.release()


def _is_free(port: int) -> bool:
    """Whether nobody outside of these reservations listens on the port."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
