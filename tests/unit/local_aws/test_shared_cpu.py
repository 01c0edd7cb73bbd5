"""Requests in flight share the vCPUs of an instance in equal parts, whenever each of them comes and goes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_aws.runner.failures import JobStoppedError
from local_aws.runner.runner_settings import InstanceType
from local_aws.runner.stopping import StopFlag
from local_aws.runner.transform import shared_cpu
from local_aws.runner.transform.client import ContainerResponse, ResponseTimeoutError
from local_aws.runner.transform.shared_cpu import SharedCpu
from local_aws.runner.transform.spool import Spool


@dataclass(eq=False)
class Pause:
    """One thread's; a wait also ends when it is notified, a sleep does not."""

    until: float
    is_wait: bool
    is_over: bool = False


class Clock:
    """Time that stands still while a thread works: once all of them pause, it is the end of the first pause.

    So no test depends on how fast this machine is. For SharedCpu it is the time and its condition in one.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._working = 0
        self._pauses: list[Pause] = []
        self._changed = threading.Condition()

    def run(self, *actions: Callable[[], float]) -> list[float]:
        """What the actions return, each in a thread of its own."""
        self._working = len(actions)
        with ThreadPoolExecutor(len(actions)) as pool:
            return [each.result() for each in [pool.submit(self._run_one, action) for action in actions]]

    def _run_one(self, action: Callable[[], float]) -> float:
        try:
            return action()
        finally:
            with self._changed:
                self._working -= 1
                self._go_on()

    def sleep(self, seconds: float) -> None:
        with self._changed:
            self._pause(seconds, is_wait=False)

    def monotonic(self) -> float:
        return self.now

    def __enter__(self) -> None:
        self._changed.acquire()

    def __exit__(self, *_: object) -> None:
        self._changed.release()

    def wait(self, seconds: float) -> None:
        self._pause(seconds, is_wait=True)

    def notify_all(self) -> None:
        self._end([pause for pause in self._pauses if pause.is_wait])

    def _pause(self, seconds: float, *, is_wait: bool) -> None:
        # A rest that is too small for the sum to change it must let time go on nevertheless.
        pause = Pause(max(self.now + seconds, math.nextafter(self.now, math.inf)), is_wait)
        self._pauses.append(pause)
        self._working -= 1
        self._go_on()
        assert self._changed.wait_for(lambda: pause.is_over, 120)

    def _go_on(self) -> None:
        if self._working == 0 and self._pauses:
            self.now = min(pause.until for pause in self._pauses)
            self._end([pause for pause in self._pauses if pause.until <= self.now])

    def _end(self, pauses: list[Pause]) -> None:
        for pause in pauses:
            pause.is_over = True
            self._pauses.remove(pause)
        self._working += len(pauses)
        self._changed.notify_all()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of every SharedCpu that the test makes."""
    made = Clock()
    monkeypatch.setattr(shared_cpu, "time", made)
    monkeypatch.setattr(shared_cpu, "threading", SimpleNamespace(Condition=lambda: made))
    return made


@pytest.fixture
def request_of(clock: Clock, tmp_path: Path) -> Callable[..., Callable[[], float]]:
    """Makes a request that takes so long on a vCPU of its own; it returns when the response was there."""

    def make(
        cpu: SharedCpu, work_seconds: float, *, delay: float = 0, timeout: float = 60
    ) -> Callable[[], float]:
        def answer() -> ContainerResponse:
            clock.sleep(work_seconds)
            return ContainerResponse(200, None, Spool(tmp_path))

        def run() -> float:
            if delay:
                clock.sleep(delay)
            cpu.run(answer, timeout)
            return clock.now

        return run

    return make


Make = Callable[..., Callable[[], float]]


def test_a_request_that_comes_later_slows_the_first_from_then_on(clock: Clock, request_of: Make) -> None:
    """The first has half of its 0.4 s when the second comes, which needs 0.2 s too: both end after 0.2 + 0.4 s."""
    cpu = SharedCpu(InstanceType(vcpus=1), StopFlag())
    ends = clock.run(request_of(cpu, 0.4), request_of(cpu, 0.2, delay=0.2))
    assert ends == pytest.approx([0.6, 0.6])
    (end,) = clock.run(request_of(cpu, 0.1))
    assert end == pytest.approx(0.7), "it is alone again"


def test_what_is_as_fast_as_this_machine_is_not_withheld(clock: Clock, request_of: Make) -> None:
    cpu = SharedCpu(InstanceType(), StopFlag())
    assert clock.run(*(request_of(cpu, 0.2) for _ in range(8))) == [0.2] * 8


def test_a_response_that_comes_too_late_is_a_timeout_and_one_of_a_stopped_job_is_dropped(
    clock: Clock, request_of: Make
) -> None:
    flag = StopFlag()
    cpu = SharedCpu(InstanceType(speed=0.01), flag)
    with pytest.raises(ResponseTimeoutError):
        clock.run(request_of(cpu, 0.1, timeout=0.3))
    assert clock.now == pytest.approx(0.3)

    def stop() -> float:
        clock.sleep(0.3)
        flag.set(JobStoppedError("stopped"))
        return clock.now

    with pytest.raises(JobStoppedError):
        clock.run(request_of(cpu, 0.1), stop)
    assert 0.6 <= clock.now <= 0.6 + shared_cpu.STOP_POLL_SECONDS + 1e-6
