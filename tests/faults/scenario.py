"""One case in flight: its run, the faults that strike it, and what a person does to it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from batch_inference.cli.laptop.environment import REGION
from batch_inference.common.names import build_name_prefix
from sagemaker_jobs.tags import STOPPED_TAG
from tests.end_to_end.deployment import ENDED
from tests.faults.case import Case
from tests.faults.suite import (
    HOLD_SECONDS,
    PATIENCE_SECONDS,
    PAUSE_SECONDS,
    Suite,
    get_output_uri,
    wait_until,
)

STAGES = ("preprocess", "transform")
ACTIVE = {"InProgress", "Stopping"}
#: The embedded AWS's account.
ACCOUNT = "123456789012"
#: A case's run is a new one.
NEW_RUN = "new run"
#: A case's run is there already: an earlier case of the pipeline has triggered it.
SAME_RUN = "same run"


@dataclasses.dataclass
class Scenario:
    """A case on a suite.

    Attributes:
        pipeline: its name; also of the DAG and, in the beginning, of the jobs.
        begins: how its run begins: NEW_RUN, SAME_RUN, or a task of the run to be cleared with all that follow.
        runs: ids of its runs, in the order in which they were triggered; shared by the cases of a run.
        tries_before: tries of the run's tasks before it was cleared or taken over, by task.
        unwanted_since: epoch seconds from which nobody wants a job any more, by job name.
        stopped_by_tasks: names of those that tasks of the run should stop, and not the janitor.
        waited_from: epoch seconds at which a job was first seen to be waited for, by job name.
        since: epoch seconds; what the pipeline did before is not of this scenario.
    """

    suite: Suite
    case: Case
    pipeline: str
    begins: str = NEW_RUN
    runs: list[str] = dataclasses.field(default_factory=list)
    tries_before: dict[str, int] = dataclasses.field(default_factory=dict)
    unwanted_since: dict[str, float] = dataclasses.field(default_factory=dict)
    stopped_by_tasks: set[str] = dataclasses.field(default_factory=set)
    waited_from: dict[str, float] = dataclasses.field(default_factory=dict)
    armed: list[str] = dataclasses.field(default_factory=list)
    since: float = dataclasses.field(default_factory=time.time)

    @property
    def run_id(self) -> str:
        """The last run."""
        return self.runs[-1]

    @property
    def job_name_prefix(self) -> str:
        """With what the names of the pipeline's jobs begin."""
        return build_name_prefix(self.pipeline)

    def trigger(self, **fields: Any) -> None:
        """Start a run, as the UI does, or clear it; `fields` are further ones of the request, such as its logical date.

        A run that is there already goes on as it is.
        """
        if self.begins == NEW_RUN:
            body = {"logical_date": None, "conf": dict(self.case.conf), **fields}
            self.runs.append(self.suite.api("POST", f"/dags/{self.pipeline}/dagRuns", body)["dag_run_id"])
            return
        assert not fields, f"{self.case.name} must be the first case of its run, to give it {fields}"
        if self.begins != SAME_RUN:
            self.clear(self.begins, downstream=True)

    def count_tries(self) -> dict[str, int]:
        """How many tries each task of the run has had."""
        return {each["task_id"]: each["try_number"] for each in self.suite.tasks(self.pipeline, self.run_id)}

    def path(self, rest: str = "") -> str:
        """The run in the REST API."""
        return f"/dags/{self.pipeline}/dagRuns/{quote(self.run_id, safe='')}{rest}"

    # Waiting

    def task(self, task_id: str) -> dict[str, Any]:
        """A task instance of the run."""
        return next(
            each for each in self.suite.tasks(self.pipeline, self.run_id) if each["task_id"] == task_id
        )

    def wait(self, holds: Callable[[], Any], what: str, *, pause: float = PAUSE_SECONDS) -> Any:
        """What `holds` returns, once that is true. Raises AssertionError, with the state of the run, if it never is."""
        try:
            return wait_until(holds, what, pause=pause)
        except AssertionError as error:
            raise AssertionError(f"{self.case.name}: {error}: {self.describe_state()}") from None

    def wait_for_task(self, task_id: str, state: str) -> None:
        """Return once the task is in this state."""
        self.wait(lambda: self.task(task_id)["state"] == state, f"{task_id} is {state}")

    def wait_for_hanging_job(self) -> None:
        """Return once the processing job is at work and billed, and its sensor waits for it."""
        jobs = self.wait(
            lambda: [job for job in self.jobs("preprocess") if job["started_at"]], "a job is at work"
        )
        self.wait_for_task("await_preprocess", "deferred")
        self.waited_from[jobs[0]["name"]] = time.time()

    def states(self) -> list[str | None]:
        """The states of the runs; None of one that is deleted."""
        return [self.suite.run_state(self.pipeline, run) for run in self.runs]

    def has_ended(self) -> bool:
        """Whether every run has ended, or is gone, and no job of the case is at work."""
        return all(state is None or state in ENDED for state in self.states()) and not self.active_jobs()

    def wait_for_end(self) -> None:
        """Return once it has ended."""
        self.wait(self.has_ended, "the run has ended")

    def wait_for_success(self) -> None:
        """Return once it has ended. Raises AssertionError where that is no success."""
        self.wait_for_end()
        assert set(self.states()) == {"success"}, self.describe_state()

    def describe_state(self) -> str:
        """What the run's tasks are, with their tries, and its jobs, for a message."""
        with contextlib.suppress(Exception):
            tasks = self.suite.tasks(self.pipeline, self.run_id)
            states = {each["task_id"]: f"{each['state']} ({each['try_number']})" for each in tasks}
            return f"{states}, {[(job['name'], job['status']) for job in self.jobs()]}"
        return "nothing more is known"

    # Jobs

    def jobs(self, stage: str | None = None) -> list[dict[str, Any]]:
        """The usage record of the jobs, of one stage or of both, in order of creation."""
        names = [f"{self.job_name_prefix}{each}-" for each in STAGES if stage in (None, each)]
        return [
            job
            for job in self.suite.jobs()
            if job["name"].startswith(tuple(names)) and job["created_at"] >= self.since
        ]

    def active_jobs(self) -> list[str]:
        """Names of the jobs that are at work."""
        return [job["name"] for job in self.jobs() if job["status"] in ACTIVE]

    def mark_active_jobs_unwanted(self) -> None:
        """From now on tasks of the run should stop the jobs that are at work."""
        names = self.active_jobs()
        self.stopped_by_tasks.update(names)
        self.unwanted_since.update(dict.fromkeys(names, time.time()))

    def read_stop_reason(self, job: dict[str, Any]) -> str | None:
        """Why Airflow stopped a job of the usage record, as its tag says; None where Airflow did not."""
        client = self.suite.aws.server.client("sagemaker")
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{job['kind']}-job/{job['name']}"
        tags = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
        return tags.get(STOPPED_TAG)

    def wait_for_stops(self) -> None:
        """Return once tasks of the run stop the jobs that they should."""
        jobs = [job for job in self.jobs() if job["name"] in self.stopped_by_tasks]
        self.wait(lambda: all(map(self.read_stop_reason, jobs)), "tasks of the run stop its jobs")

    def have_janitor_stop_jobs(self) -> None:
        """Run the janitor, which stops the jobs that are at work, unless their tasks have stopped them before.

        They should be stopped once it has looked, which on a machine with much else to do is not at once.
        """
        names = self.active_jobs()
        self.unwanted_since.update(dict.fromkeys(names, self.suite.run_janitor()))

    def get_job_deadline(self, job: dict[str, Any]) -> float | None:
        """Epoch seconds at which a job that was started must be stopped, where the case sets a limit."""
        if self.case.limit_seconds is None:
            return None
        began = max(job["started_at"] or 0.0, self.waited_from.get(job["name"], 0.0))
        return float(began + self.case.limit_seconds)

    def triggerer(self, task_id: str) -> int | None:
        """The id, in Airflow, of the triggerer that waits for the task."""
        trigger = self.task(task_id)["trigger"]
        return None if trigger is None else trigger["triggerer_id"]

    # Faults

    def arm(self, kind: str, **fields: Any) -> str:
        """Arm a fault of the embedded AWS that strikes this case only; its name."""
        name = f"{self.case.name}-{len(self.armed)}-{self.since}"
        s3 = kind.startswith("s3_")
        only = {"key_contains": f"/{self.pipeline}/*"} if s3 else {"job_name_contains": self.job_name_prefix}
        if kind in ("hold", "s3_hold"):
            fields.setdefault("seconds", HOLD_SECONDS)
        answer = self.suite.aws.server.local("POST", "faults", {"kind": kind, "name": name, **only, **fields})
        assert answer.get("kind") == kind, answer
        self.armed.append(name)
        return name

    def hold(self, operation: str) -> str:
        """Hold the answer of the next call of this operation for a job of the case."""
        return self.arm("hold", operation=operation)

    def hold_input(self) -> str:
        """The transform's containers run, and wait for their input until it is let go, also when they ask once more."""
        return self.arm(
            "s3_hold", operation="GetObject", count=100, key_contains=f"/work/{self.pipeline}/*/features/"
        )

    def fault(self, name: str) -> dict[str, Any]:
        """A fault as it is now; empty once it is used up."""
        faults = self.suite.aws.server.local("GET", "faults")["faults"]
        return next((fault for fault in faults if fault["name"] == name), {})

    def wait_for_hold(self, name: str, requests: int = 1) -> None:
        """Return once the fault holds so many requests."""
        self.wait(
            lambda: self.fault(name).get("holding", 0) >= requests, f"{requests} requests are held", pause=0.3
        )

    def release_fault(self, name: str) -> None:
        """Take the fault back."""
        self.suite.aws.server.local("DELETE", f"faults?name={name}")

    def find_idle_faults(self) -> list[str]:
        """Those of the case's faults that have struck nothing; one that is used up or taken back is not among them."""
        faults = self.suite.aws.server.local("GET", "faults")["faults"]
        return [
            f"{fault['kind']} {fault['operation'] or ''}"
            for fault in faults
            if fault["name"] in self.armed and not fault["struck"]
        ]

    def disarm(self) -> None:
        """Take back what is left of the case's faults."""
        for name in self.armed:
            self.release_fault(name)

    # Processes and people

    def kill_worker(self, task_id: str) -> None:
        """kill -9 the executor's worker that runs the task, with the task's own process."""
        for process in self.find_worker_processes(self.task(task_id)["id"], task_id):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def stall_worker(self, task_id: str) -> Callable[..., None]:
        """SIGSTOP the executor's worker that runs the task, and the task's own process.

        What is returned lets them go on and waits until they have ended that try: the task's own process first, which
        may get far before it is noticed; or `noticed`, when Airflow has told the worker to end it.
        """
        instance = self.task(task_id)["id"]
        *workers, task = processes = self.find_worker_processes(instance, task_id)
        for process in processes:
            process.send_signal(signal.SIGSTOP)

        def wake(*, noticed: bool = False) -> None:
            if not noticed:
                resume_process(task)
            for process in workers:
                resume_process(process)
            if noticed:
                # After five seconds it would be killed as it is.
                self.wait(
                    lambda: is_sigterm_pending(task), f"the worker ends its try of {task_id}", pause=0.1
                )
                resume_process(task)
            self.wait(lambda: not self._processes_of(instance), f"the late try of {task_id} has ended")

        return wake

    def find_worker_processes(self, instance: str, task_id: str) -> list[psutil.Process]:
        """The processes of one try of a task, the executor's before the task's own."""
        found = self._processes_of(instance)
        assert found, f"no process runs {task_id} of {self.pipeline}"
        return found

    def _processes_of(self, instance: str) -> list[psutil.Process]:
        """Those whose command line names this try; a worker that has ended it names another one, or none."""
        scheduler = psutil.Process(self.suite.airflow.processes["scheduler"].pid)
        found = []
        for process in scheduler.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if instance in " ".join(process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def restart(self, component: str) -> None:
        """kill -9 a component of Airflow, start it again, and wait until it works."""
        self.suite.airflow.kill(component)
        self.start(component)

    def start(self, component: str) -> None:
        """Start a component of Airflow that was killed, and wait until it works."""
        self.suite.airflow.start(component)
        self.suite.airflow.wait_until_healthy(timeout_seconds=PATIENCE_SECONDS)

    def mark_task(self, task_id: str, state: str) -> None:
        """What the button in the UI does."""
        self.suite.api("PATCH", self.path(f"/taskInstances/{task_id}"), {"new_state": state})

    def mark_run(self, state: str) -> None:
        """What the button in the UI does."""
        self.suite.api("PATCH", self.path(), {"state": state})

    def clear(self, task_id: str, *, downstream: bool) -> None:
        """What the button in the UI does."""
        body = {"dry_run": False, "only_failed": False, "reset_dag_runs": True, "dag_run_id": self.run_id}
        body |= {"task_ids": [task_id], "include_downstream": downstream}
        self.suite.api("POST", f"/dags/{self.pipeline}/clearTaskInstances", body)

    def delete_run(self) -> bool:
        """What the button in the UI does; raises LaptopError while Airflow refuses, as the run still runs."""
        self.suite.api("DELETE", self.path())
        return True

    @property
    def output(self) -> str:
        """Where the pipeline publishes."""
        return get_output_uri(self.pipeline)


@contextlib.contextmanager
def job_at_work(scenario: Scenario) -> Iterator[None]:
    """A transform whose containers wait for their input, and a sensor that waits for it, while the block runs."""
    hold = scenario.hold_input()
    scenario.trigger()
    scenario.wait_for_hold(hold)
    scenario.wait_for_task("await_transform", "deferred")
    yield
    scenario.release_fault(hold)


def resume_process(process: psutil.Process) -> None:
    """SIGCONT, unless the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


def is_sigterm_pending(process: psutil.Process) -> bool:
    """Whether SIGTERM waits for a process that is stopped; also when it has ended already."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        pending = int(re.search(r"^ShdPnd:\s*([0-9a-f]+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
        return bool(pending >> (signal.SIGTERM - 1) & 1)
    return True
