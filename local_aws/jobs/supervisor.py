"""Starts, stops and shuts down all running jobs, and records the heartbeat that bounds their billed time."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from local_aws.jobs.events import JobProgress
from local_aws.jobs.job import JobThread, SharedJobContext
from local_aws.state.jobs import Job

log = logging.getLogger(__name__)

JobKey = tuple[str, str, str]
# Interval of the heartbeat: at most this much of a job's billed time is lost when the server is killed.
HEARTBEAT_SECONDS = 1.0


class Supervisor:
    """Starts one thread for each job and drops it when the job has ended.

    Each job has its own directory below `work_root` while it runs.
    """

    def __init__(self, context: SharedJobContext, work_root: Path) -> None:
        self._context = context
        self._work_root = work_root
        self._threads: dict[JobKey, JobThread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._ended = threading.Event()
        self._heartbeat_thread = threading.Thread(
            target=self._record_heartbeats, name="heartbeat", daemon=True
        )
        self._heartbeat_thread.start()

    def start(self, job: Job, clusters: list[tuple[str, int]], faults: list[dict[str, Any]]) -> None:
        """Start a job that was just created, as JobThread does; after `shut_down` it fails at once."""
        thread = JobThread(job, clusters, faults, self._work_root / uuid.uuid4().hex[:12], self._context)
        with self._lock:
            self._threads = {key: one for key, one in self._threads.items() if one.is_alive()}
            self._threads[_job_key(job)] = thread
            if self._closed:
                thread.shut_down()
            thread.start()

    def stop(self, job: Job) -> None:
        """Ask a job to stop; nothing happens when it has ended."""
        thread = self._threads.get(_job_key(job))
        if thread is not None:
            thread.stop()

    def get_progress(self, job: Job) -> JobProgress | None:
        """The last progress event of a running job; None for others."""
        thread = self._threads.get(_job_key(job))
        return thread.progress if thread is not None else None

    def shut_down(self) -> None:
        """End every job: SIGTERM, shutdown_grace_seconds, SIGKILL; returns when all threads are done."""
        with self._lock:
            self._closed = True
            threads = [thread for thread in self._threads.values() if thread.is_alive()]
        for thread in threads:
            thread.shut_down()
        deadline = time.monotonic() + self._context.settings.shutdown_grace_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for thread in threads:
            thread.kill()
        for thread in threads:
            thread.join()
        self._ended.set()
        self._heartbeat_thread.join()
        self._context.sweeper_process.close()

    def _record_heartbeats(self) -> None:
        """Record a heartbeat at the start, and then while jobs run."""
        job_table, is_due = self._context.job_table, True
        while True:
            if is_due:
                try:
                    job_table.record_heartbeat(time.time())
                except sqlite3.Error as error:
                    log.warning("the heartbeat could not be written: %s", error)
            if self._ended.wait(HEARTBEAT_SECONDS):
                return
            with self._lock:
                is_due = any(thread.is_alive() for thread in self._threads.values())


def _job_key(job: Job) -> JobKey:
    return job.kind, job.region, job.name_key
