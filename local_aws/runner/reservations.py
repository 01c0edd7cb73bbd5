"""Names that one process of this machine has at a time, and gives back however it ends."""

from __future__ import annotations

import socket


class Reservation:
    """A name that nobody else on this machine has until it is released.

    It is the name of an abstract socket (unix(7)), which the kernel gives to one process, of whatever user, and which
    belongs to a network namespace as ports and addresses do.
    """

    def __init__(self, name: str) -> None:
        """Reserve the name. Raises OSError if somebody has it."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(f"\0local-aws/{name}")
        except OSError:
            self._socket.close()
            raise

    def release(self) -> None:
        """Let others have the name."""
        self._socket.close()
