"""The vCPUs of one instance, which its requests in flight share in equal parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from local_aws.runner.runner_settings import InstanceType
from local_aws.runner.stopping import StopFlag
from local_aws.runner.transform.client import ContainerResponse, ResponseTimeoutError

#: A response that is withheld looks at the stop flag this often.
STOP_POLL_SECONDS = 0.2


class SharedCpu:
    """Withholds responses for as long as an instance of the type would have computed longer than this machine.

    The time in which the container answers is the request's computation on one vCPU of speed 1. All requests in flight
    advance at the same rate: `speed`, times vcpus / requests once there are more requests than vCPUs.
    """

    def __init__(self, instance_type: InstanceType, stop_flag: StopFlag) -> None:
        self._type = instance_type
        self._stop_flag = stop_flag
        self._changed = threading.Condition()
        self._in_flight = 0
        # Seconds of computation that a request in flight since the beginning would have had, and until when.
        self._computed = 0.0
        self._until = time.monotonic()

    def run(self, invoke: Callable[[], ContainerResponse], timeout_seconds: float) -> ContainerResponse:
        """The response of `invoke`, when the instance would have it.

        Raises ResponseTimeoutError when that is later than `timeout_seconds` from now, the stop flag's cause when the
        job ends meanwhile, and what `invoke` raises.
        """
        start = self._change_in_flight(1)
        began = time.monotonic()
        try:
            response = invoke()
            try:
                self._withhold(start + time.monotonic() - began, began + timeout_seconds)
            except BaseException:
                response.spool.close()
                raise
            return response
        finally:
            self._change_in_flight(-1)

    def _withhold(self, end: float, deadline: float) -> None:
        """Returns when `end` has been computed."""
        with self._changed:
            while (missing := end - self._advance()) > 0:
                rest = deadline - time.monotonic()
                if rest <= 0:
                    raise ResponseTimeoutError("no response in time")
                self._changed.wait(min(missing / self._rate, rest, STOP_POLL_SECONDS))
                self._stop_flag.raise_if_set()

    def _change_in_flight(self, change: int) -> float:
        with self._changed:
            computed = self._advance()
            self._in_flight += change
            self._changed.notify_all()
        return computed

    def _advance(self) -> float:
        now = time.monotonic()
        self._computed += (now - self._until) * self._rate
        self._until = now
        return self._computed

    @property
    def _rate(self) -> float:
        vcpus = self._type.vcpus
        share = 1.0 if vcpus is None else min(1.0, vcpus / max(1, self._in_flight))
        return self._type.speed * share
