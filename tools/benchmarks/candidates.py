"""Runs commands in turns, each as a process of its own, and compares what they took."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Usage:
    """What a process and those that it started took: seconds by the clock, of CPU, and the peak MB of the largest."""

    wall: float
    cpu: float
    peak: float


def measure(*commands: Sequence[str], environments: Sequence[Mapping[str, str]] = ({},)) -> Usage:
    """Run commands at the same time, each with its environment, and measure them together.

    Raises:
        RuntimeError: one failed.
    """
    os.sync()
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            command, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for command, more in zip(commands, environments, strict=True)
    ]
    cpu = peak = 0.0
    for process in running:
        printed = process.stdout.read() if process.stdout else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{process.args!r} exited with {process.returncode}:\n{printed.decode()}")
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss / 1024)
    return Usage(time.perf_counter() - started, cpu, peak)


def take_medians(runs: Sequence[Usage]) -> Usage:
    """The median of each figure."""
    return Usage(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak")))
