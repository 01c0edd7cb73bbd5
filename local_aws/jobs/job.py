"""Runs one job: provisioning, runner process, its events, final state."""

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

from local_aws.jobs.capacity import Capacity
from local_aws.jobs.events import Event, EventError, JobFinished, JobProgress, JobStarted, parse_event
from local_aws.jobs.process import SweeperProcess, signal_process_group, spawn_runner
from local_aws.jobs.sweeper import sweep
from local_aws.settings import Settings
from local_aws.state.jobs import Job, JobTable

log = logging.getLogger(__name__)

INTERNAL_ERROR = "InternalServerError: We encountered an internal error.  Please try again."
SERVER_STOPPED = f"{INTERNAL_ERROR} (the embedded AWS was stopped while this job ran)"
CAPACITY_ERROR = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedJobContext:
    """What all jobs of a server share.

    Attributes:
        command: runs one job, given the path of SPEC.json.
        environment: the runner's environment, S3 credentials included.
        s3_endpoint_url, logs_endpoint_url: endpoints of S3 and CloudWatch Logs for the runner.
        log_dir: one log file per job, kept.
        capacity: the instances that jobs share.
        sweeper_process: kills the runners if the server dies.
    """

    settings: Settings
    job_table: JobTable
    command: tuple[str, ...]
    environment: Mapping[str, str]
    s3_endpoint_url: str
    logs_endpoint_url: str
    log_dir: Path
    capacity: Capacity
    sweeper_process: SweeperProcess


class JobThread(threading.Thread):
    """Lives as long as its job; the runner dies with it (PR_SET_PDEATHSIG follows this thread).

    Args:
        clusters: instance type and count, in order of preference; the first with free capacity is used.
        faults: faults that the runner injects, as SPEC.json holds them.
    """

    def __init__(
        self,
        job: Job,
        clusters: list[tuple[str, int]],
        faults: list[dict[str, Any]],
        work_dir: Path,
        context: SharedJobContext,
    ) -> None:
        super().__init__(name=f"{job.kind}/{job.name}", daemon=True)
        self.job = job
        self.progress: JobProgress | None = None
        self._clusters = clusters
        self._faults = faults
        self._work_dir = work_dir
        self._context = context
        self._stop_requested = threading.Event()
        self._shutdown = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._finished_event: JobFinished | None = None
        self._runner_ended_at: float | None = None

    def stop(self) -> None:
        """Stop the job (StopTransformJob, StopProcessingJob): SIGTERM once, SIGKILL after stop_timeout_seconds."""
        with self._lock:
            if self._stop_requested.is_set():
                return
            self._stop_requested.set()
            if self._process is not None:
                self._terminate(self._process)

    def shut_down(self) -> None:
        """Send SIGTERM to the runner because the server stops; `kill` follows."""
        self._shutdown.set()
        with self._lock:
            self._stop_requested.set()
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """Kill the runner if it still runs."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                signal_process_group(self._process, signal.SIGKILL)

    def run(self) -> None:
        """Run the job to its end; always records a final state and removes the work directory."""
        changes: dict[str, Any] = {"status": "Failed", "failure_reason": INTERNAL_ERROR}
        try:
            changes = self._provision_and_run()
        except Exception:
            # Logged before the final state is recorded, so that a Failed job always has its reason in the log.
            log.exception("%s failed by an internal error of the server", self.name)
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self._record_end(changes)

    def _provision_and_run(self) -> dict[str, Any]:
        self._stop_requested.wait(self._context.settings.provisioning_seconds)
        if self._shutdown.is_set():
            return {"status": "Failed", "failure_reason": SERVER_STOPPED}
        if self._stop_requested.is_set():
            return {"status": "Stopped"}
        cluster = self._context.capacity.acquire_first(self._clusters, self.job.name)
        if cluster is None:
            return {"status": "Failed", "failure_reason": CAPACITY_ERROR}
        try:
            self._run_on(cluster)
        finally:
            self._context.capacity.release(cluster)
        return self._build_outcome()

    def _run_on(self, cluster: tuple[str, int]) -> None:
        if cluster != (self.job.instance_type, self.job.instance_count):
            self._update_job(instance_type=cluster[0], instance_count=cluster[1])
        self._work_dir.mkdir(parents=True)
        spec = self._work_dir / "SPEC.json"
        spec.write_text(json.dumps(self._build_spec(), indent=1), encoding="utf-8")
        with self._lock:
            if not self._stop_requested.is_set():
                self._process = spawn_runner(
                    [*self._context.command, str(spec)],
                    cwd=self._work_dir,
                    env=self._context.environment,
                    stderr=self._context.log_dir / f"{self.job.kind}-{self.job.name}.log",
                    niceness=self._context.settings.job_niceness,
                )
                self._context.sweeper_process.add_process_group(self._process.pid)
        if self._process is not None:
            self._follow_events(self._process)
            self._context.sweeper_process.remove_process_group(self._process.pid)

    def _follow_events(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            raise RuntimeError("the runner was spawned without a pipe")
        with process.stdout as stream:
            for line in stream:
                try:
                    self._apply_event(parse_event(line))
                except EventError as error:
                    log.warning("%s: %s", self.name, error)
        process.wait()
        self._runner_ended_at = time.time()
        # The runner has ended; kill what remains of its process group.
        signal_process_group(process, signal.SIGKILL)
        if self._finished_event is None:
            # It ended without its last event, so containers may still run, in their own process groups.
            sweep(self._work_dir, ())

    def _apply_event(self, event: Event) -> None:
        match event:
            case JobStarted():
                self._update_job(started_at=event.time, modified_at=time.time())
            case JobProgress():
                self.progress = event
            case JobFinished():
                self._finished_event = event

    def _build_outcome(self) -> dict[str, Any]:
        finished = self._finished_event
        if self._shutdown.is_set() and (finished is None or finished.status == "Stopped"):
            return {"status": "Failed", "failure_reason": SERVER_STOPPED}
        if finished is None:
            if self._stop_requested.is_set():
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

    def _record_end(self, changes: dict[str, Any]) -> None:
        now = time.time()
        # Without an end time in its last event, a job ended with its runner; the removal of files is not its time.
        ended_at = self._runner_ended_at or now
        modified_at = max(now, changes.get("ended_at", now))
        self._update_job(**{"ended_at": ended_at, **changes, "modified_at": modified_at})

    def _update_job(self, **changes: Any) -> None:
        self.job = self._context.job_table.update(self.job, **changes)

    def _terminate(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        timer = threading.Timer(self._context.settings.stop_timeout_seconds, self.kill)
        timer.daemon = True
        timer.start()

    def _build_spec(self) -> dict[str, Any]:
        settings, job = self._context.settings, self.job
        return {
            "kind": job.kind,
            "name": job.name,
            "arn": job.arn,
            "region": job.region,
            "request": add_chosen_cluster(job),
            "containers": job.containers,
            "network_isolation": job.network_isolation,
            "s3_endpoint_url": self._context.s3_endpoint_url,
            "logs_endpoint_url": self._context.logs_endpoint_url,
            "settings": settings.runner.model_dump(mode="json"),
            "images_file": str(Path(settings.images_file).resolve()) if settings.images_file else None,
            "faults": self._faults,
            "work_dir": str(self._work_dir),
        }


def add_chosen_cluster(job: Job) -> dict[str, Any]:
    """The request as sent; with InstancePreferences, also the cluster that was chosen."""
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


def fail_interrupted_jobs(job_table: JobTable) -> list[Job]:
    """Set the jobs that ran when the server died to Failed, with the reason; returns them.

    A job ended when it is last known to have run: at the server's last heartbeat, or at its own last change of state
    if that is later. The time until this start is not billed.
    """
    now, last_heartbeat = time.time(), job_table.get_last_heartbeat()
    return [
        job_table.update(
            job,
            status="Failed",
            failure_reason=SERVER_STOPPED,
            ended_at=max(job.modified_at, job.started_at or job.created_at, last_heartbeat or 0.0),
            modified_at=now,
        )
        for job in job_table.list_active()
    ]
