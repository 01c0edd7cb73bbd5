"""One job at work: provisioning, runner, events, end."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.local_aws.faults import Faults
from include.local_aws.jobs.events import Event, EventError, Finished, Progress, Started, parse_event
from include.local_aws.jobs.process import signal_session, spawn_runner
from include.local_aws.settings import Settings
from include.local_aws.state.jobs import Job, JobStore

log = logging.getLogger(__name__)

INTERNAL_ERROR = "InternalServerError: We encountered an internal error.  Please try again."
SERVER_STOPPED = f"{INTERNAL_ERROR} (the embedded AWS was stopped while this job ran)"
CAPACITY_ERROR = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every job of a server shares.

    Attributes:
        command: runs one job, given the path of SPEC.json.
        environment: the runner's environment, S3 credentials included.
        s3_endpoint_url, logs_endpoint_url: where the runner finds them.
        log_dir: one log file a job, kept.
        faults: asked for a capacity error before instances are had.
    """

    settings: Settings
    store: JobStore
    command: tuple[str, ...]
    environment: Mapping[str, str]
    s3_endpoint_url: str
    logs_endpoint_url: str
    log_dir: Path
    faults: Faults


class JobThread(threading.Thread):
    """Lives as long as its job; the runner dies with it (PR_SET_PDEATHSIG follows this thread)."""

    def __init__(self, job: Job, work_dir: Path, around: Surroundings, faults: list[dict[str, Any]]) -> None:
        super().__init__(name=f"{job.kind}/{job.name}", daemon=True)
        self.job = job
        self.progress: Progress | None = None
        self._work_dir = work_dir
        self._around = around
        self._faults = faults
        self._stop_asked = threading.Event()
        self._shutdown = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._finished: Finished | None = None

    def stop(self) -> None:
        """StopTransformJob, StopProcessingJob: ask once, kill after stop_timeout_seconds."""
        with self._lock:
            if self._stop_asked.is_set():
                return
            self._stop_asked.set()
            if self._process is not None:
                self._terminate(self._process)

    def shut_down(self) -> None:
        """The server stops: the runner gets SIGTERM now; `kill` follows."""
        self._shutdown.set()
        with self._lock:
            self._stop_asked.set()
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """End what is left of the runner."""
        with self._lock:
            if self._process is not None:
                signal_session(self._process, signal.SIGKILL)

    def run(self) -> None:
        """The job, from CreationTime to its end; always leaves a final state and no work directory."""
        end: dict[str, Any] = {"status": "Failed", "failure_reason": INTERNAL_ERROR}
        try:
            end = self._provision_and_run()
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self._end(end)

    def _provision_and_run(self) -> dict[str, Any]:
        self._stop_asked.wait(self._around.settings.provisioning_seconds)
        if self._shutdown.is_set():
            return {"status": "Failed", "failure_reason": SERVER_STOPPED}
        if self._stop_asked.is_set():
            return {"status": "Stopped"}
        if self._no_capacity():
            return {"status": "Failed", "failure_reason": CAPACITY_ERROR}
        self._work_dir.mkdir(parents=True)
        spec = self._work_dir / "SPEC.json"
        spec.write_text(json.dumps(self._spec(), indent=1), encoding="utf-8")
        with self._lock:
            if not self._stop_asked.is_set():
                self._process = spawn_runner(
                    [*self._around.command, str(spec)],
                    cwd=self._work_dir,
                    env=self._around.environment,
                    stderr=self._around.log_dir / f"{self.job.kind}-{self.job.name}.log",
                )
        if self._process is not None:
            self._follow(self._process)
        return self._outcome()

    def _no_capacity(self) -> bool:
        job = self.job
        if self._around.faults.take(("capacity",), job=job.name) is not None:
            return True
        exist = self._around.settings.capacity.get(job.instance_type)
        if exist is None:
            return False
        others = sum(
            other.instance_count
            for other in self._around.store.active()
            if other.instance_type == job.instance_type and other.started_at is not None
        )
        return others + job.instance_count > exist

    def _follow(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            raise RuntimeError("the runner was spawned without a pipe")
        with process.stdout as stream:
            for line in stream:
                try:
                    self._take(parse_event(line))
                except EventError as error:
                    log.warning("%s: %s", self.name, error)
        process.wait()
        # The runner is gone; whatever it left behind in its group goes too.
        signal_session(process, signal.SIGKILL)

    def _take(self, event: Event) -> None:
        match event:
            case Started():
                self.job = self._around.store.update(self.job, started_at=event.time, modified_at=time.time())
            case Progress():
                self.progress = event
            case Finished():
                self._finished = event

    def _outcome(self) -> dict[str, Any]:
        finished = self._finished
        if self._shutdown.is_set() and (finished is None or finished.status == "Stopped"):
            return {"status": "Failed", "failure_reason": SERVER_STOPPED}
        if finished is None:
            if self._stop_asked.is_set():
                return {"status": "Stopped"}
            return {"status": "Failed", "failure_reason": INTERNAL_ERROR}
        reason = finished.failure_reason if finished.status == "Failed" else None
        return {
            "status": finished.status,
            "failure_reason": reason[:1024] if reason else None,
            "exit_message": finished.exit_message[:1024] if finished.exit_message else None,
            "instances": finished.instances,
            "ended_at": finished.time,
        }

    def _end(self, end: dict[str, Any]) -> None:
        now = time.time()
        self.job = self._around.store.update(
            self.job, **{"ended_at": now, **end, "modified_at": max(now, end.get("ended_at", now))}
        )

    def _terminate(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        timer = threading.Timer(self._around.settings.stop_timeout_seconds, self.kill)
        timer.daemon = True
        timer.start()

    def _spec(self) -> dict[str, Any]:
        settings, job = self._around.settings, self.job
        return {
            "kind": job.kind,
            "name": job.name,
            "arn": job.arn,
            "region": job.region,
            "account_id": settings.account_id,
            "request": job.request,
            "containers": job.containers,
            "network_isolation": job.network_isolation,
            "s3_endpoint_url": self._around.s3_endpoint_url,
            "logs_endpoint_url": self._around.logs_endpoint_url,
            "settings": settings.runner.model_dump(mode="json"),
            "images_file": settings.images_file and os.path.abspath(settings.images_file),  # noqa: PTH100
            "faults": self._faults,
            "work_dir": str(self._work_dir),
        }


def fail_interrupted(store: JobStore) -> list[Job]:
    """Jobs that ran when the server died: each becomes Failed, with the reason; returns them."""
    now = time.time()
    return [
        store.update(job, status="Failed", failure_reason=SERVER_STOPPED, ended_at=now, modified_at=now)
        for job in store.active()
    ]
