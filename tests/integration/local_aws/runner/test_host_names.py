"""Containers of a processing job reach each other as algo-1 to algo-N, and those of other jobs do not meet them."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local_aws.runner.containers.sandbox import ISOLATION_MODES, detect_isolation
from local_aws.runner.processing import host_addresses, processing_instance
from local_aws.runner.processing.host_addresses import reserve_addresses
from local_aws.runner.reservations import Reservation
from tests.integration.local_aws.runner.harness import Aws


def works_here(mode: str) -> bool:
    try:
        return detect_isolation(mode) == mode
    except RuntimeError:
        return False


MOUNT_MODES_HERE = [mode for mode in ISOLATION_MODES if mode != "base_dir" and works_here(mode)]

# Each host listens on its own address and says its job and name to all others.
GREET = """
import json, os, socket, sys, time
me = json.load(open("/opt/ml/config/resourceconfig.json"))
job = json.load(open("/opt/ml/config/processingjobconfig.json"))["ProcessingJobArn"].rpartition("/")[2]
listener = socket.create_server((socket.gethostbyname(me["current_host"]), 7551))
for name in me["hosts"]:
    deadline = time.monotonic() + float(os.environ.get("WAIT", "20"))
    while name != me["current_host"]:
        try:
            with socket.create_connection((name, 7551), timeout=5) as connection:
                connection.sendall(f"{job}/{me['current_host']}".encode())
            break
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{name}: {error}")
            time.sleep(0.05)
heard = []
for _ in me["hosts"][1:]:
    connection, _ = listener.accept()
    heard.append(connection.makefile().read())
print(me["current_host"], "heard", *sorted(heard), flush=True)
time.sleep(1)  # so that another job that had the same address could not listen
"""


@pytest.mark.parametrize("mode", MOUNT_MODES_HERE)
def test_the_hosts_of_two_jobs_at_once_reach_each_other_by_name(aws: Aws, mode: str) -> None:
    jobs = [f"{aws.job}-a", f"{aws.job}-b"]
    processes = [
        aws.start(
            aws.spec(
                "processing",
                aws.processing_request(["python3", "-c", GREET], name=job, instances=2),
                settings={"isolation": mode},
            )
        )
        for job in jobs
    ]
    for job, process in zip(jobs, processes, strict=True):
        assert aws.finish(process).outcome == ("Completed", None)
        lines = sorted(line for (line,) in aws.log_lines("processing", job).values())
        assert lines == [f"algo-1 heard {job}/algo-2", f"algo-2 heard {job}/algo-1"]


@pytest.mark.parametrize("mode", MOUNT_MODES_HERE)
def test_a_container_keeps_the_names_of_the_machine_and_changes_none(aws: Aws, mode: str) -> None:
    source = """
print(open("/etc/hosts").read(), end="")
try:
    open("/etc/hosts", "a")
except OSError as error:
    print(error.strerror)
"""
    machine = Path("/etc/hosts").read_text()
    aws.processing(["python3", "-c", source], settings={"isolation": mode}, instances=3)
    logs = list(aws.log_lines("processing").values())
    assert len(logs) == 3
    for lines in logs:
        found = [re.fullmatch(r"127\.\d+\.\d+\.(\d) algo-(\d)", line).groups() for line in lines[:3]]
        assert found == [("1", "1"), ("2", "2"), ("3", "3")]
        assert lines[3:] == [*machine.splitlines(), "Read-only file system"]
    assert Path("/etc/hosts").read_text() == machine


@pytest.mark.parametrize("mode", MOUNT_MODES_HERE)
def test_network_isolation_keeps_the_hosts_apart(aws: Aws, mode: str) -> None:
    ended = aws.processing(
        ["python3", "-c", GREET],
        Environment={"WAIT": "0.5"},
        instances=2,
        network_isolation=True,
        settings={"isolation": mode},
    )
    assert ended.last["status"] == "Failed"
    told = [line for lines in aws.log_lines("processing").values() for line in lines]
    assert told
    assert all(re.fullmatch(r"algo-\d: \[Errno \d+\] .*(refused|unreachable)", line) for line in told), told


def test_without_mounts_the_log_says_what_keeps_the_hosts_apart(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(instances: int, name: str) -> list[str]:
        ended = aws.processing(
            ["python3", "-c", "print('runs')"],
            name=name + aws.job,
            instances=instances,
            settings={"isolation": "base_dir"},
        )
        assert ended.outcome == ("Completed", None)
        return [line for lines in aws.log_lines("processing", name + aws.job).values() for line in lines]

    assert [line for line in run(1, "one") if line != "runs"] == []
    warning, runs = run(2, "two")[:2]
    assert (warning, runs) == (processing_instance.UNKNOWN_HOSTS.format(hosts="algo-1, algo-2"), "runs")
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *args, **kw: resolve(name.replace("algo-", "127.64.0."), *args, **kw),
    )
    assert run(2, "named") == ["runs", "runs"]


def test_addresses_are_one_jobs_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_addresses, "_NETWORKS", ["127.64.0", "127.64.1"])
    hosts = ["algo-1", "algo-2"]
    with reserve_addresses(hosts) as first:
        with reserve_addresses(hosts) as second:
            found = sorted([first, second], key=lambda addresses: addresses["algo-1"])
            assert found == [{"algo-1": f"127.64.{n}.1", "algo-2": f"127.64.{n}.2"} for n in (0, 1)]
            with pytest.raises(OSError, match="no free network"), reserve_addresses(hosts):
                pass
        with reserve_addresses(hosts) as third:
            assert third == second


def test_a_reservation_ends_with_its_process() -> None:
    source = (
        "import sys, time; from local_aws.runner.reservations import Reservation\n"
        "mine = Reservation('a test'); print('has it', flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"has it\n"
        with pytest.raises(OSError, match="in use"):
            Reservation("a test")
        process.kill()
    Reservation("a test").release()
