"""Every job at work, by name: start, stop, and the end of all of them."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from include.local_aws.jobs.events import Progress
from include.local_aws.jobs.job import JobThread, Surroundings, fail_interrupted
from include.local_aws.state.jobs import Job

Key = tuple[str, str, str]


class Supervisor:
    """Starts a thread for each job and forgets it at its end.

    `work_root` belongs to this supervisor: it is emptied at the start, since a killed server leaves its
    jobs' directories behind.
    """

    def __init__(self, around: Surroundings, work_root: Path) -> None:
        self._around = around
        self._work_root = work_root
        self._threads: dict[Key, JobThread] = {}
        self._lock = threading.Lock()
        shutil.rmtree(work_root, ignore_errors=True)
        work_root.mkdir(parents=True)
        self.interrupted = fail_interrupted(around.store)

    def start(self, job: Job, faults: list[dict[str, Any]]) -> None:
        """Let a job that was just created begin."""
        thread = JobThread(job, self._work_root / uuid.uuid4().hex[:12], self._around, faults)
        with self._lock:
            self._threads = {key: one for key, one in self._threads.items() if one.is_alive()}
            self._threads[_key(job)] = thread
            thread.start()

    def stop(self, job: Job) -> None:
        """Ask a job to stop; nothing happens when it has ended."""
        thread = self._threads.get(_key(job))
        if thread is not None:
            thread.stop()

    def progress(self, job: Job) -> Progress | None:
        """What the runner last said of a job at work."""
        thread = self._threads.get(_key(job))
        return thread.progress if thread is not None else None

    def shut_down(self) -> None:
        """End every job: SIGTERM, shutdown_grace_seconds, SIGKILL; returns when all threads are done."""
        with self._lock:
            threads = [thread for thread in self._threads.values() if thread.is_alive()]
        for thread in threads:
            thread.shut_down()
        deadline = time.monotonic() + self._around.settings.shutdown_grace_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for thread in threads:
            thread.kill()
        for thread in threads:
            thread.join()
        shutil.rmtree(self._work_root, ignore_errors=True)


def _key(job: Job) -> Key:
    return job.kind, job.region, job.name_key
