"""Exchanges files between the instances of a job, which reach each other by TCP as `algo-1` to `algo-N`.

Each host sends over the connections that it opens and receives over those that it accepts. A connection begins with a
handshake in which both ends prove that they know the job's token, and the accepting end says that it keeps the
connection; a file goes as its length in 8 bytes, its content, and the content's CRC-32 in 4.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import tempfile
import threading
import time
import zlib
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from typing import IO, Any, Sequence

from batch_inference.jobs.common.errors import JobError

PORT = 7551
MAX_WAIT_SECONDS = 15 * 60.0  # instances do not start at the same time
POLL_SECONDS = 0.2  # between two attempts to connect; doubled up to MAX_POLL_SECONDS
MAX_POLL_SECONDS = 5.0
ATTEMPT_SECONDS = 10.0  # for one attempt to connect, and for each step of a handshake but the last
CLOSE_SECONDS = 10  # for what is under way when a connection is closed
_MAGIC = b"peers/2\n"
_KEPT = b"\n"  # ends a handshake: the accepting host keeps the connection
_NONCE_BYTES = _PROOF_BYTES = 32
_CHUNK_BYTES = 256 << 10
_LENGTH, _CHECKSUM = struct.Struct(">Q"), struct.Struct(">I")
# A host that vanished is noticed after two minutes. Not TCP_USER_TIMEOUT: it ends connections with hosts that are busy
# and do not receive yet.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
)


class Peers:
    """The connections of `host` with all other `hosts` of its job, which use the same `token` and TCP `port`.

    The token tells the hosts of one job from others; what is exchanged is neither encrypted nor protected from who can
    change the traffic between the hosts.

    `bytes_sent` counts what was sent over the network. A host without others opens no port.
    """

    def __init__(self, hosts: Sequence[str], host: str, token: bytes, port: int = PORT) -> None:
        self.bytes_sent = 0
        self.hosts = hosts
        self._others = [name for name in hosts if name != host]
        self._host = host
        self._token = token
        self._port = port
        self._senders: dict[str, socket.socket] = {}
        self._receivers: dict[str, socket.socket] = {}
        self._attempts = dict.fromkeys(self._others, "not tried")  # how the last attempt to connect ended

    def __enter__(self) -> Peers:
        """Connect with all other hosts, which may start later.

        Raises:
            JobError: a host cannot be reached within MAX_WAIT_SECONDS, or this one cannot listen.
        """
        try:
            if self._others:
                self._connect_all(time.monotonic() + MAX_WAIT_SECONDS)
        except BaseException:
            self._close(0)
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._close(CLOSE_SECONDS if kind is None else 0)

    def exchange(self, outgoing: Sequence[IO[bytes]]) -> list[IO[bytes]]:
        """Send a file to each host and receive one from each, in the order of the hosts.

        Files are read from and given at position 0. The own one is handed through, the others are temporary files.

        Raises:
            JobError: a host broke off, or what it sent arrived damaged.
        """
        with ExitStack() as stack, ThreadPoolExecutor(2 * len(self.hosts)) as pool:
            files = dict(zip(self.hosts, outgoing))
            sending = [
                pool.submit(_send_file, self._senders[name], name, files[name]) for name in self._others
            ]
            receiving: list[Future[Any]] = []
            for name in self._others:
                files[name] = stack.enter_context(tempfile.TemporaryFile())
                receiving.append(pool.submit(_receive_file, self._receivers[name], name, files[name]))
            try:
                for future in wait([*sending, *receiving], return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                self._shut_down()  # no thread waits for a host any more
                raise
            self.bytes_sent += sum(future.result() for future in sending)
            stack.pop_all()
            return [files[name] for name in self.hosts]

    def _connect_all(self, deadline: float) -> None:
        with self._listen(deadline) as listener, ThreadPoolExecutor(len(self._others)) as pool:
            listener.settimeout(POLL_SECONDS)
            for name in self._others:
                pool.submit(self._connect, name, deadline)
            while len(self._receivers) < len(self._others) and time.monotonic() < deadline:
                try:
                    connection, _ = listener.accept()
                except socket.timeout:
                    continue
                # A thread for each: a stranger that says nothing must not keep the others waiting.
                threading.Thread(target=self._accept, args=(connection,), daemon=True).start()
        missing = [name for name in self._others if name not in self._senders or name not in self._receivers]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise JobError(
                f"{self._host} has no connection with {missing[0]}{more} after {MAX_WAIT_SECONDS / 60:g} minutes; "
                f"last attempt: {self._attempts[missing[0]]}. If {missing[0]} failed, its own log has the reason. "
                f"Otherwise let the instances reach each other on TCP port {self._port}: in a VPC, the security group "
                "must allow it from and to itself; security.network_isolation must be off. Or set "
                "preprocess.max_instances: 1, which needs no connections."
            )

    def _listen(self, deadline: float) -> socket.socket:
        """Listen on the address of the own name, which DNS may know late."""
        while True:
            try:
                address = _resolve(self._host, self._port)
                return socket.create_server(address, backlog=len(self.hosts))
            except OSError as error:
                if not isinstance(error, socket.gaierror) or time.monotonic() > deadline:
                    raise JobError(
                        f"{self._host} cannot listen on TCP port {self._port} of the address of its own name: {error}. "
                        "Its name must resolve to an address of this container, and nothing else may use the port; or "
                        "set preprocess.max_instances: 1, which needs no connections."
                    ) from error
            time.sleep(POLL_SECONDS)

    def _connect(self, name: str, deadline: float) -> None:
        """Open the connection to a host; gives up at the deadline."""
        pause = POLL_SECONDS
        while time.monotonic() < deadline:
            place = f"resolve {name}"
            try:
                address = _resolve(name, self._port)
                place = f"connect to {name} at {address[0]}:{self._port}"
                connection = socket.create_connection(address, timeout=ATTEMPT_SECONDS)
                try:
                    self._prove_to(connection, name, deadline)
                except BaseException:
                    connection.close()
                    raise
                connection.settimeout(None)
                self._senders[name] = connection
                self._attempts[name] = f"{place}: connected, but it did not connect to {self._host}"
                return
            except OSError as error:
                self._attempts[name] = f"{place}: {error}"
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(2 * pause, MAX_POLL_SECONDS)

    def _prove_to(self, connection: socket.socket, name: str, deadline: float) -> None:
        """Shake hands with the host that accepts.

        Raises OSError unless it proves to be `name` of this job and keeps the connection.
        """
        nonce, own = os.urandom(_NONCE_BYTES), self._host.encode()
        connection.sendall(_MAGIC + nonce + bytes([len(own)]) + own)
        if _receive(connection, len(_MAGIC)) != _MAGIC:
            raise ConnectionError("what answers does not belong to this job")
        nonce += _receive(connection, _NONCE_BYTES)
        proof = self._build_proof(b"accept", nonce, self._host, name)
        if not hmac.compare_digest(_receive(connection, _PROOF_BYTES), proof):
            raise ConnectionError("what answers does not know the token of this job")
        connection.sendall(self._build_proof(b"connect", nonce, self._host, name))
        # The other host decides, however long it takes: it may count a connection that is given up here, and then waits
        # for no other.
        _configure(connection).settimeout(max(0.01, deadline - time.monotonic()))
        if _receive(connection, len(_KEPT)) != _KEPT:
            raise ConnectionError("what answers does not keep the connection")

    def _accept(self, connection: socket.socket) -> None:
        """Shake hands with what has connected; it is kept if it proves to be a host of this job."""
        try:
            connection.settimeout(ATTEMPT_SECONDS)
            if _receive(connection, len(_MAGIC)) == _MAGIC:
                nonce, own_nonce = _receive(connection, _NONCE_BYTES), os.urandom(_NONCE_BYTES)
                name = _receive(connection, _receive(connection, 1)[0]).decode("utf-8", "replace")
                nonce += own_nonce
                connection.sendall(_MAGIC + own_nonce + self._build_proof(b"accept", nonce, name, self._host))
                proof = self._build_proof(b"connect", nonce, name, self._host)
                if hmac.compare_digest(_receive(connection, _PROOF_BYTES), proof) and name in self._others:
                    _configure(connection).sendall(_KEPT)
                    # Afterwards: this host may close the connections as soon as it has all of them.
                    self._receivers[name] = connection
                    return
        except OSError:
            pass  # a host of this job tries again
        connection.close()

    def _build_proof(self, role: bytes, nonces: bytes, sender: str, receiver: str) -> bytes:
        """The HMAC of both nonces, which only who knows the token can compute, for one end and one direction."""
        text = b"\0".join((role, sender.encode(), receiver.encode(), nonces))
        return hmac.new(self._token, text, "sha256").digest()

    def _shut_down(self) -> None:
        for connection in (*self._senders.values(), *self._receivers.values()):
            with suppress(OSError):  # the other host was quicker
                connection.shutdown(socket.SHUT_RDWR)

    def _close(self, linger_seconds: int) -> None:
        """Close the connections; what was sent has arrived, unless it takes longer than `linger_seconds`."""
        for connection in (*self._senders.values(), *self._receivers.values()):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger_seconds))
            connection.close()


def _resolve(name: str, port: int) -> tuple[str, int]:
    """The IPv4 address of a host. Raises socket.gaierror while DNS does not know it."""
    address = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    return str(address[0]), port


def _configure(connection: socket.socket) -> socket.socket:
    connection.settimeout(None)
    for level, option, value in _KEEPALIVE:
        connection.setsockopt(level, option, value)
    return connection


def _receive(connection: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes. Raises ConnectionError if the stream ends before."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("the connection was closed")
        view = view[count:]
    return bytes(data)


def _send_file(connection: socket.socket, name: str, file: IO[bytes]) -> int:
    """Send a file with its length and checksum; returns the bytes sent."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    checksum = 0
    _send(connection, name, _LENGTH.pack(size))
    for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
        checksum = zlib.crc32(chunk, checksum)
        _send(connection, name, chunk)
    _send(connection, name, _CHECKSUM.pack(checksum))
    return _LENGTH.size + size + _CHECKSUM.size


def _send(connection: socket.socket, name: str, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError as error:
        raise _describe_break(name, error) from error


def _receive_file(connection: socket.socket, name: str, target: IO[bytes]) -> None:
    """Receive what `_send_file` sends, into `target`."""

    def receive(size: int) -> bytes:
        try:
            return _receive(connection, size)
        except OSError as error:
            raise _describe_break(name, error) from error

    (size,) = _LENGTH.unpack(receive(_LENGTH.size))
    checksum = 0
    for start in range(0, size, _CHUNK_BYTES):
        chunk = receive(min(_CHUNK_BYTES, size - start))
        checksum = zlib.crc32(chunk, checksum)
        target.write(chunk)
    if receive(_CHECKSUM.size) != _CHECKSUM.pack(checksum):
        raise JobError(
            f"{size:,} bytes from {name} arrived damaged: their checksum differs. Run the job again."
        )
    target.seek(0)


def _describe_break(name: str, error: OSError) -> JobError:
    return JobError(
        f"{name} ended or broke off while the instances exchanged keys ({error}); its own log has the reason."
    )
