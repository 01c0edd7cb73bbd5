"""One job at work: provisioning, runner, events, end."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.local_aws.jobs.capacity import Capacity
from include.local_aws.jobs.events import Event, EventError, Finished, Progress, Started, parse_event
from include.local_aws.jobs.guard import Guard
from include.local_aws.jobs.process import signal_session, spawn_runner
from include.local_aws.jobs.sweeper import sweep
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
        capacity: where instances are had.
        guard: told of runners, so that they end with the server.
    """

    settings: Settings
    store: JobStore
    command: tuple[str, ...]
    environment: Mapping[str, str]
    s3_endpoint_url: str
    logs_endpoint_url: str
    log_dir: Path
    capacity: Capacity
    guard: Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job to be run.

    Attributes:
        choices: clusters (type, count) in order of preference; the first that there is will be taken.
        faults: what the runner is to suffer, as SPEC.json holds it.
    """

    job: Job
    choices: list[tuple[str, int]]
    faults: list[dict[str, Any]]


class JobThread(threading.Thread):
    """Lives as long as its job; the runner dies with it (PR_SET_PDEATHSIG follows this thread)."""

    def __init__(self, order: Order, work_dir: Path, around: Surroundings) -> None:
        super().__init__(name=f"{order.job.kind}/{order.job.name}", daemon=True)
        self.job = order.job
        self.progress: Progress | None = None
        self._work_dir = work_dir
        self._around = around
        self._order = order
        self._stop_asked = threading.Event()
        self._shutdown = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._finished: Finished | None = None
        self._runner_ended_at: float | None = None

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
            if self._process is not None and self._process.poll() is None:
                signal_session(self._process, signal.SIGKILL)

    def run(self) -> None:
        """The job, from CreationTime to its end; always leaves a final state and no work directory."""
        end: dict[str, Any] = {"status": "Failed", "failure_reason": INTERNAL_ERROR}
        try:
            end = self._provision_and_run()
        except Exception:
            # Before the job's end, so that who sees it Failed finds the reason here.
            log.exception("%s failed by an error of the server itself", self.name)
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self._end(end)

    def _provision_and_run(self) -> dict[str, Any]:
        self._stop_asked.wait(self._around.settings.provisioning_seconds)
        if self._shutdown.is_set():
            return {"status": "Failed", "failure_reason": SERVER_STOPPED}
        if self._stop_asked.is_set():
            return {"status": "Stopped"}
        taken = self._around.capacity.take_first(self._order.choices, self.job.name)
        if taken is None:
            return {"status": "Failed", "failure_reason": CAPACITY_ERROR}
        try:
            self._run_on(taken)
        finally:
            self._around.capacity.give_back(taken)
        return self._outcome()

    def _run_on(self, instances: tuple[str, int]) -> None:
        if instances != (self.job.instance_type, self.job.instance_count):
            self.job = self._around.store.update(
                self.job, instance_type=instances[0], instance_count=instances[1]
            )
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
                    niceness=self._around.settings.job_niceness,
                )
                self._around.guard.add(self._process.pid)
        if self._process is not None:
            self._follow(self._process)
            self._around.guard.remove(self._process.pid)

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
        self._runner_ended_at = time.time()
        # The runner is gone; whatever it left behind in its group goes too.
        signal_session(process, signal.SIGKILL)
        if self._finished is None:
            # It did not end in order, so containers may be about, in groups of their own.
            sweep(self._work_dir, ())

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
        # Without a word of its own, a job ended with its runner; what is removed afterwards is not its time.
        ended_at = self._runner_ended_at or now
        self.job = self._around.store.update(
            self.job, **{"ended_at": ended_at, **end, "modified_at": max(now, end.get("ended_at", now))}
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
            "request": with_chosen_cluster(job),
            "containers": job.containers,
            "network_isolation": job.network_isolation,
            "s3_endpoint_url": self._around.s3_endpoint_url,
            "logs_endpoint_url": self._around.logs_endpoint_url,
            "settings": settings.runner.model_dump(mode="json"),
            "images_file": str(Path(settings.images_file).resolve()) if settings.images_file else None,
            "faults": self._order.faults,
            "work_dir": str(self._work_dir),
        }


def with_chosen_cluster(job: Job) -> dict[str, Any]:
    """The request as sent; with InstancePreferences, also the cluster that was had."""
    cluster = job.request.get("ProcessingResources", {}).get("ClusterConfig", {})
    if "InstancePreferences" not in cluster:
        return job.request
    chosen = {
        **cluster,
        "InstanceType": job.instance_type,
        "InstanceCount": job.instance_count,
        "SelectedInstanceType": job.instance_type,
        "SelectedInstanceCount": job.instance_count,
    }
    return {**job.request, "ProcessingResources": {"ClusterConfig": chosen}}


def fail_interrupted(store: JobStore) -> list[Job]:
    """Jobs that ran when the server died: each becomes Failed, with the reason; returns them.

    They died with it, so each ended when it is last known to have run: at the server's last heartbeat, or at its own
    last change of state where that is later. The time until this start is not billed.
    """
    now, beat = time.time(), store.last_beat()
    return [
        store.update(
            job,
            status="Failed",
            failure_reason=SERVER_STOPPED,
            ended_at=max(job.modified_at, job.started_at or job.created_at, beat or 0.0),
            modified_at=now,
        )
        for job in store.active()
    ]
