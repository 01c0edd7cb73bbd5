"""Hosts of a job exchange files by TCP, each under its name; here each is a thread with a loopback address."""

from __future__ import annotations

import io
import os
import socket
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import pytest

from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.preprocess import peers
from batch_inference.jobs.preprocess.peers import PORT, Peers
from tests.unit.jobs.loopback import reserve_network

TOKEN = b"of the job"
MAGIC = b"peers/2\n"
#: What is seen of a host that has ended: which of them depends on whether it is read from or sent to first.
ENDED = r"(the connection was closed|.*Broken pipe|.*Connection reset by peer)"


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The addresses of algo-1 to algo-5, which no other test has, as their names resolve."""
    with reserve_network() as network:
        found = {f"algo-{number}": f"{network}{number}" for number in range(1, 6)}
        resolve = socket.getaddrinfo

        def getaddrinfo(name: str, *args: Any) -> Any:
            if name.startswith("algo-") and name not in found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return resolve(found.get(name, name), *args)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(peers, "POLL_SECONDS", 0.02)
        yield found


class Clock:
    """The time of the hosts, which passes when the test says so."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def give_up_once(self, is_reached: Callable[[], bool]) -> None:
        """Wait for a state of the hosts; then, or if it does not come, their time is up."""
        try:
            give_up = time.monotonic() + 120
            while not is_reached():
                assert time.monotonic() < give_up
                time.sleep(0.01)
        finally:
            self.now += peers.MAX_WAIT_SECONDS + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(peers, "time", made)
    monkeypatch.setattr(peers, "MAX_POLL_SECONDS", 0.1)
    return made


@contextmanager
def running(work: Callable[[str], Any], hosts: Sequence[str]) -> Iterator[dict[str, Future[Any]]]:
    """A thread for each host."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        yield {host: pool.submit(work, host) for host in hosts}


def names(count: int) -> list[str]:
    return [f"algo-{number + 1}" for number in range(count)]


def assert_all_exchange(hosts: Sequence[str]) -> None:
    def work(host: str) -> list[bytes]:
        with Peers(hosts, host, TOKEN) as group:
            return read_all(group.exchange([io.BytesIO(host.encode()) for _ in hosts]))

    with running(work, hosts) as done:
        assert [each.result() for each in done.values()] == [[host.encode() for host in hosts]] * len(hosts)


def read_all(files: Sequence[IO[bytes]]) -> list[bytes]:
    contents = []
    for file in files:
        assert file.tell() == 0
        with file:
            contents.append(file.read())
    return contents


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_host_receives_what_each_sent_to_it_in_every_round(
    addresses: dict[str, str], count: int
) -> None:
    """In the order of the hosts; some of the files are empty, one has several chunks."""
    hosts = names(count)

    def content(sender: str, receiver: str, turn: int) -> bytes:
        number = 7 * hosts.index(sender) + hosts.index(receiver) + turn
        return f"{sender} to {receiver} {turn},".encode() * (0, 1, 50_000)[number % 3]

    def work(host: str) -> int:
        with Peers(hosts, host, TOKEN) as group:
            for turn in range(3):
                outgoing = [io.BytesIO(content(host, other, turn)) for other in hosts]
                received = group.exchange(outgoing)
                assert received[hosts.index(host)] is outgoing[hosts.index(host)]
                assert read_all(received) == [content(other, host, turn) for other in hosts]
            return group.bytes_sent

    with running(work, hosts) as done:
        for host in hosts:
            sent = [
                len(content(host, other, turn)) + 12 for other in hosts if other != host for turn in range(3)
            ]
            assert done[host].result() == sum(sent)


def test_large_files_cross_each_other_in_constant_memory(addresses: dict[str, str]) -> None:
    """50 MB both ways at once are more than the sockets hold: who only sent before it receives would wait for ever."""
    hosts, block = names(2), os.urandom(1 << 20)

    def work(host: str) -> None:
        with tempfile.TemporaryFile() as large, Peers(hosts, host, TOKEN) as group:
            for _ in range(50):
                large.write(block)
            large.seek(0)
            outgoing: list[IO[bytes]] = [large, large]
            outgoing[hosts.index(host)] = io.BytesIO()
            received = group.exchange(outgoing)[1 - hosts.index(host)]
            with received:
                assert [received.read(1 << 20) == block for _ in range(51)] == [True] * 50 + [False]

    tracemalloc.start()
    try:
        with running(work, hosts) as done:
            for each in done.values():
                each.result()
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def test_a_host_may_start_late_and_its_name_resolve_later(addresses: dict[str, str]) -> None:
    hosts, late = names(3), addresses.pop("algo-3")

    def work(host: str) -> list[bytes]:
        if host == "algo-3":
            time.sleep(0.3)
        with Peers(hosts, host, TOKEN) as group:
            return read_all(group.exchange([io.BytesIO(host.encode()) for _ in hosts]))

    with running(work, hosts) as done:
        time.sleep(0.6)
        assert not any(each.done() for each in done.values())
        addresses["algo-3"] = late
        assert [each.result() for each in done.values()] == [[b"algo-1", b"algo-2", b"algo-3"]] * 3


@pytest.mark.parametrize(
    ("resolves", "attempt"),
    [
        (True, rf"connect to algo-3 at 127\.\d+\.\d+\.3:{PORT}: .*Connection refused"),
        (False, "resolve algo-3: .*Name or service not known"),
    ],
)
def test_a_host_that_does_not_come_is_named_with_what_to_do(
    addresses: dict[str, str], clock: Clock, resolves: bool, attempt: str
) -> None:
    if not resolves:
        del addresses["algo-3"]
    groups = {host: Peers(names(3), host, TOKEN) for host in names(2)}

    def work(host: str) -> None:
        with groups[host]:
            raise AssertionError("algo-3 is missing")

    def is_algo_3_alone_missing() -> bool:
        return all(
            group._senders and group._receivers and group._attempts["algo-3"] != "not tried"
            for group in groups.values()
        )

    message = (
        rf"^algo-1 has no connection with algo-3 after 15 minutes; last attempt: {attempt}\. If algo-3 failed, its "
        rf"own log has the reason\. .* port {PORT}: in a VPC, the security group .*\. Or set preprocess\.max_instances"
    )
    with running(work, names(2)) as done:
        clock.give_up_once(is_algo_3_alone_missing)
        with pytest.raises(JobError, match=message) as raised:
            done["algo-1"].result()
        assert isinstance(done["algo-2"].exception(), JobError)
    assert len(str(raised.value)) < 1024, "the exit message holds it"


def test_a_host_that_only_answers_is_missing_too(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """algo-1 reaches algo-2, and algo-2 finds another address for algo-1, where nobody listens."""
    connect = socket.create_connection
    nowhere = (addresses["algo-5"], PORT)
    reach = {(addresses["algo-1"], PORT): nowhere}
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda address, **options: connect(reach.get(address, address), **options),
    )

    groups = {host: Peers(names(2), host, TOKEN) for host in names(2)}

    def work(host: str) -> None:
        with groups[host]:
            raise AssertionError("algo-2 did not connect")

    with running(work, names(2)) as done:
        clock.give_up_once(
            lambda: (
                "connected, but" in groups["algo-1"]._attempts["algo-2"]
                and "algo-1" in groups["algo-2"]._receivers
                and "refused" in groups["algo-2"]._attempts["algo-1"]
            )
        )
        with pytest.raises(JobError, match=r"algo-2 after .*: connected, but it did not connect to algo-1"):
            done["algo-1"].result()
        with pytest.raises(JobError, match=r"algo-1 after .* Connection refused"):
            done["algo-2"].result()


def test_a_host_that_cannot_listen_says_so_at_once(addresses: dict[str, str]) -> None:
    with (
        socket.create_server((addresses["algo-1"], PORT)),
        pytest.raises(JobError, match=rf"^algo-1 cannot listen on TCP port {PORT} .*Address already in use"),
        Peers(names(2), "algo-1", TOKEN),
    ):
        pass


def test_a_host_listens_on_its_own_address_alone(addresses: dict[str, str], clock: Clock) -> None:
    def listens(host: str) -> bool:
        try:
            socket.create_connection((addresses[host], PORT)).close()
        except ConnectionRefusedError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        entered = pool.submit(Peers(names(2), "algo-1", TOKEN).__enter__)
        clock.give_up_once(lambda: listens("algo-1") and not listens("algo-4"))
        assert isinstance(entered.exception(), JobError)


def test_another_job_with_the_same_names_stays_outside(addresses: dict[str, str], clock: Clock) -> None:
    groups = {
        host: Peers(names(2), host, token) for host, token in zip(names(2), (TOKEN, b"another"), strict=True)
    }
    reason = "what answers does not know the token of this job"

    def work(host: str) -> None:
        with groups[host]:
            raise AssertionError("they have not the same token")

    def are_both_told() -> bool:
        return all(text.endswith(reason) for group in groups.values() for text in group._attempts.values())

    with running(work, names(2)) as done:
        clock.give_up_once(are_both_told)
        for each in done.values():
            with pytest.raises(JobError, match=reason):
                each.result()


def test_a_handshake_that_fails_at_its_end_is_made_again(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """algo-1 does not receive algo-2's proof in time; algo-2 has sent it, and must not count the connection."""
    monkeypatch.setattr(peers, "MAX_WAIT_SECONDS", 120.0)
    receive, received = peers._receive, []

    def late_once(connection: socket.socket, size: int) -> bytes:
        data = receive(connection, size)
        if size == 32 and connection.getsockname() == (addresses["algo-1"], PORT):
            received.append(data)
            if len(received) == 2:  # a nonce, and the proof
                raise TimeoutError("timed out")
        return data

    monkeypatch.setattr(peers, "_receive", late_once)
    assert_all_exchange(names(2))
    assert len(received) >= 4


def test_a_host_may_be_slow_to_keep_a_connection(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts the connection: the other host must not give it up meanwhile, as it does at other steps."""
    monkeypatch.setattr(peers, "MAX_WAIT_SECONDS", 120.0)
    monkeypatch.setattr(peers, "ATTEMPT_SECONDS", 0.3)
    configure = peers._configure

    def slow(connection: socket.socket) -> socket.socket:
        if connection.getsockname()[1] == PORT:
            time.sleep(1.0)
        return configure(connection)

    monkeypatch.setattr(peers, "_configure", slow)
    assert_all_exchange(names(2))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: algo-1\r\n\r\n",
        MAGIC + bytes(32) + b"\x06algo-2" + bytes(32),
        MAGIC + bytes(32) + b"\x06algo-9" + bytes(32),
        MAGIC + bytes(32) + b"\x02\xff\xfe" + bytes(32),
    ],
    ids=["nothing", "http", "a forged proof", "an unknown name", "no text"],
)
def test_a_stranger_is_ignored(
    addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Its connection is closed; the hosts find each other while it is there."""
    monkeypatch.setattr(peers, "ATTEMPT_SECONDS", 0.3)

    def work(host: str) -> list[bytes]:
        if host == "algo-2":
            assert until_closed(said)
        with Peers(names(2), host, TOKEN) as group:
            return read_all(group.exchange([io.BytesIO(host.encode()) for _ in range(2)]))

    def until_closed(said: bytes) -> bool:
        while True:
            try:
                stranger = socket.create_connection((addresses["algo-1"], PORT), timeout=60)
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        with stranger:
            stranger.sendall(said)
            try:
                while stranger.recv(1000):
                    pass
            except ConnectionResetError:
                pass
            return True

    with running(work, names(2)) as done:
        assert [each.result() for each in done.values()] == [[b"algo-1", b"algo-2"]] * 2


def test_a_host_that_breaks_off_is_named(addresses: dict[str, str]) -> None:
    """algo-3 fails amid its second file; all others end too, and no thread waits any longer."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 4 << 20:
                raise OSError("No space left on device")
            return super().read(size)

    def work(host: str) -> None:
        with Peers(names(3), host, TOKEN) as group:
            read_all(group.exchange([io.BytesIO(b"first") for _ in range(3)]))
            kind = Failing if host == "algo-3" else io.BytesIO
            group.exchange([kind(bytes(8 << 20)) for _ in range(3)])

    with running(work, names(3)) as done:
        with pytest.raises(OSError, match="No space left on device"):
            done["algo-3"].result()
        told = [str(done[host].exception()) for host in names(2)]
    expected = "ended or broke off while the instances exchanged keys"
    assert all(expected in text and text.endswith("its own log has the reason.") for text in told), told
    assert any(text.startswith("algo-3 ended") for text in told), told


def test_a_host_that_ends_between_two_rounds_is_named(addresses: dict[str, str]) -> None:
    def work(host: str) -> None:
        with Peers(names(2), host, TOKEN) as group:
            read_all(group.exchange([io.BytesIO(), io.BytesIO()]))
            if host == "algo-1":
                group.exchange([io.BytesIO(), io.BytesIO()])

    with running(work, names(2)) as done:
        with pytest.raises(JobError, match=rf"^algo-2 ended or broke off .*\({ENDED}\)"):
            done["algo-1"].result()
        done["algo-2"].result()


def test_damaged_bytes_are_refused(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As if algo-2 had sent another byte than the one it took the checksum of."""
    send = peers._send

    def damage(connection: socket.socket, name: str, data: bytes) -> None:
        send(connection, name, data.replace(b"x", b"y") if name == "algo-1" else data)

    monkeypatch.setattr(peers, "_send", damage)

    def work(host: str) -> list[IO[bytes]]:
        with Peers(names(2), host, TOKEN) as group:
            return group.exchange([io.BytesIO(b"text"), io.BytesIO(b"text")])

    with (
        running(work, names(2)) as done,
        pytest.raises(JobError, match=r"^4 bytes from algo-2 arrived damaged: their checksum differs"),
    ):
        done["algo-1"].result()
    for file in done["algo-2"].result():
        file.close()


def test_a_connection_notices_that_its_host_vanished(addresses: dict[str, str]) -> None:
    def work(host: str) -> None:
        with Peers(names(2), host, TOKEN) as group:
            for connection in (*group._senders.values(), *group._receivers.values()):
                assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert connection.gettimeout() is None

    with running(work, names(2)) as done:
        for each in done.values():
            each.result()
