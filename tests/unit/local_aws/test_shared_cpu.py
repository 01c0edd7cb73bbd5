"""Requests in flight share the vCPUs of an instance in equal parts, whenever each of them comes and goes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_aws.runner.failures import JobStoppedError
from local_aws.runner.runner_settings import InstanceType
from local_aws.runner.stopping import StopFlag
from local_aws.runner.transform.client import ContainerResponse, ResponseTimeoutError
from local_aws.runner.transform.shared_cpu import SharedCpu
from local_aws.runner.transform.spool import Spool


def run(cpu: SharedCpu, folder: Path, work_seconds: float, *, delay: float = 0, timeout: float = 60) -> float:
    """When the response was there, in seconds, of a request that takes so long on a vCPU of its own."""
    began = time.monotonic()
    time.sleep(delay)

    def answer() -> ContainerResponse:
        time.sleep(work_seconds)
        return ContainerResponse(200, None, Spool(folder))

    cpu.run(answer, timeout)
    return time.monotonic() - began


def test_a_request_that_comes_later_slows_the_first_from_then_on(tmp_path: Path) -> None:
    """The first has half of its 0.4 s when the second comes, which needs 0.2 s too: both end after 0.2 + 0.4 s."""
    cpu = SharedCpu(InstanceType(vcpus=1), StopFlag())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, cpu, tmp_path, 0.4)
        second = pool.submit(run, cpu, tmp_path, 0.2, delay=0.2)
        ends = [first.result(), second.result()]
    assert min(ends) >= 0.59
    assert max(ends) < 0.9
    assert run(cpu, tmp_path, 0.1) < 0.3, "it is alone again"


def test_what_is_as_fast_as_this_machine_is_not_withheld(tmp_path: Path) -> None:
    cpu = SharedCpu(InstanceType(), StopFlag())
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: run(cpu, tmp_path, 0.2), range(8)))
    assert max(ends) < 0.5


def test_a_response_that_comes_too_late_is_a_timeout_and_one_of_a_stopped_job_is_dropped(
    tmp_path: Path,
) -> None:
    flag = StopFlag()
    cpu = SharedCpu(InstanceType(speed=0.01), flag)
    began = time.monotonic()
    with pytest.raises(ResponseTimeoutError):
        run(cpu, tmp_path, 0.1, timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 2
    threading.Timer(0.3, flag.set, args=(JobStoppedError("stopped"),)).start()
    with pytest.raises(JobStoppedError):
        run(cpu, tmp_path, 0.1)
    assert time.monotonic() - began < 5
