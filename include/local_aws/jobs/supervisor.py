"""Every job at work, by name: start, stop, the end of all of them, and the heartbeat that says how long they ran."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from pathlib import Path

from include.local_aws.jobs.events import Progress
from include.local_aws.jobs.job import JobThread, Order, Surroundings
from include.local_aws.state.jobs import Job

log = logging.getLogger(__name__)

Key = tuple[str, str, str]
# How much of a job's time may be missing from its bill after the server was killed.
BEAT_SECONDS = 1.0


class Supervisor:
    """Starts a thread for each job and forgets it at its end.

    Each job has a directory of its own below `work_root` while it runs.
    """

    def __init__(self, around: Surroundings, work_root: Path) -> None:
        self._around = around
        self._work_root = work_root
        self._threads: dict[Key, JobThread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def start(self, order: Order) -> None:
        """Let a job that was just created begin; one that comes after `shut_down` fails at once."""
        thread = JobThread(order, self._work_root / uuid.uuid4().hex[:12], self._around)
        with self._lock:
            self._threads = {key: one for key, one in self._threads.items() if one.is_alive()}
            self._threads[_key(order.job)] = thread
            if self._closed:
                thread.shut_down()
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
            self._closed = True
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
        self._ended.set()
        self._heart.join()
        self._around.guard.close()

    def _beat(self) -> None:
        """Note at the start and then while jobs are at work that the server runs: they die with it."""
        store, is_due = self._around.store, True
        while True:
            if is_due:
                try:
                    store.beat(time.time())
                except sqlite3.Error as error:
                    log.warning("the heartbeat could not be written: %s", error)
            if self._ended.wait(BEAT_SECONDS):
                return
            with self._lock:
                is_due = any(thread.is_alive() for thread in self._threads.values())


def _key(job: Job) -> Key:
    return job.kind, job.region, job.name_key
