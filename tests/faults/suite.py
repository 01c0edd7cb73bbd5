"""All that the cases of one database share: one Airflow of separate processes, and the embedded AWS beside it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from batch_inference.cli.laptop.airflow_processes import (
    DATABASE_VARIABLE,
    AirflowProcesses,
    add_sqlite_timeout,
    find_free_ports,
)
from batch_inference.cli.laptop.environment import (
    LaptopError,
    build_airflow_environment,
    create_s3_client,
    start_migration,
    wait_for_migration,
)
from batch_inference.cli.laptop.sample import create_buckets_and_role
from batch_inference.config.pipeline import load_pipeline
from tests import preloading
from tests.faults import data
from tests.integration.local_aws.servers import Server, run_server
from tests.on_postgres import use_postgres
from tools.checkout import REPO

if TYPE_CHECKING:
    from tests.faults.phases import Pipeline

JANITOR = "janitor"
#: How long anything may take before a case fails: the machine may have much else to do.
PATIENCE_SECONDS = 600.0
#: Longer than any case waits, so that a hold ends when the case says so.
HOLD_SECONDS = 900
#: Between two questions to Airflow, whose api-server is what takes most of the processors otherwise.
PAUSE_SECONDS = 2.0
#: A lost process is noticed in seconds instead of minutes.
FAST_AIRFLOW_SETTINGS = {
    **preloading.ENVIRONMENT,
    # Workers that stall keep their places.
    "AIRFLOW__CORE__PARALLELISM": "16",
    "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
    # Each one is a request; twice this is the least pause before a job is looked at again.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}
#: Instance types of which the account may have so many, for the case of a quota in use.
SCARCE_INSTANCE_TYPES = {"ml.c5.xlarge": 1}
#: A container that hangs is killed soon after it was asked to end, and one that never answers is given up.
AWS_SETTINGS = {
    "provisioning_seconds": 0.5,
    "transform_instances_quota": 100,
    "processing_instances_quota": 100,
    "default_instance_quota": 100,
    "instance_quotas": {
        f"{kind} for processing job usage": number for kind, number in SCARCE_INSTANCE_TYPES.items()
    },
    "runner.transform_stop_grace_seconds": 1,
    "runner.processing_stop_grace_seconds": 1,
    # Also for models that are sound, on a machine with much else to do.
    "runner.ping_timeout_seconds": 90,
    "job_niceness": 0,
}


class EmbeddedAws:
    """The embedded AWS in a process of its own, which a case may restart; ended when `stack` is closed."""

    def __init__(self, data_dir: Path, stack: contextlib.ExitStack) -> None:
        self.data_dir, self._stack = data_dir, stack
        self.server = self._start(port=0)
        self.s3: Any = create_s3_client(self.server.url)

    def _start(self, *, port: int) -> Server:
        return self._stack.enter_context(run_server(self.data_dir, AWS_SETTINGS, port=port))

    def restart(self) -> None:
        """Stop it and start it again at the same address, with what it has kept."""
        port = int(self.server.url.rsplit(":", 1)[1])
        self.server.stop()
        self.server = self._start(port=port)


class KillableAirflow(AirflowProcesses):
    """Airflow, whose components may be ended and stopped one by one."""

    def start_second_triggerer(self, name: str) -> None:
        """Start one more triggerer, which goes by `name` here and in the name of its log."""
        self.start_as(name, "triggerer")

    def kill(self, component: str, signal_number: int = signal.SIGKILL) -> None:
        """End one component and all its children at once."""
        process = self.processes.pop(component)
        os.killpg(process.pid, signal_number)
        process.wait()

    def send_signal(self, component: str, signal_number: int) -> None:
        """Send a signal to one component and all its children."""
        os.killpg(self.processes[component].pid, signal_number)


class Suite:
    """A running deployment with pipelines."""

    def __init__(self, airflow: KillableAirflow, aws: EmbeddedAws, root: Path) -> None:
        self.airflow, self.aws, self.root = airflow, aws, root
        self._runs = CachedQuery(self._ask_for_runs)
        self._janitor_lock = threading.Lock()
        self._jobs = CachedQuery(lambda: self.aws.server.local("GET", "usage")["jobs"])

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of Airflow's REST API."""
        answer = self.airflow.api.call(method, path, body)
        if method != "GET":
            # What was seen before is no longer so.
            self._runs.invalidate()
        return answer

    def triggerers(self) -> list[int]:
        """The ids of the triggerers that are alive."""
        found = self.api("GET", "/jobs?job_type=TriggererJob&is_alive=true")["jobs"]
        return [job["id"] for job in found]

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run; None where there is no such run."""
        state: str | None = self._runs.get().get((dag_id, run_id))
        return state

    def _ask_for_runs(self) -> dict[tuple[str, str], str]:
        runs = self.api("GET", "/dags/~/dagRuns?limit=1000")["dag_runs"]
        return {(run["dag_id"], run["dag_run_id"]): run["state"] for run in runs}

    def start_run_earlier(self, dag_id: str, run_id: str, seconds: float) -> None:
        """Change a run to one that started so much earlier, so that its time is up however slow this machine is."""
        url = self.airflow.environment[DATABASE_VARIABLE]
        environment = {**self.airflow.environment, DATABASE_VARIABLE: add_sqlite_timeout("scheduler", url)}
        script = Path(__file__).with_name("start_run_earlier.py")
        command = [self.airflow.python, "-P", str(script), dag_id, run_id, str(seconds)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances?limit=100"
        found: list[dict[str, Any]] = self.api("GET", path)["task_instances"]
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """The usage record of all jobs, in order of their creation."""
        found: list[dict[str, Any]] = self._jobs.get()
        return found

    def run_janitor(self) -> float:
        """Let the janitor run to its success, as its schedule does every five minutes.

        Returns when it had told AWS to stop what it stops, in epoch seconds.
        """
        run = self._queue_janitor_run()
        wait_until(
            lambda: self.run_state(JANITOR, run) in ("success", "failed"), "the janitor's run has ended"
        )
        tasks = {each["task_id"]: each for each in self.tasks(JANITOR, run)}
        states = {name: each["state"] for name, each in tasks.items()}
        assert self.run_state(JANITOR, run) == "success", f"the janitor's run {run} failed: {states}"
        return datetime.fromisoformat(tasks["clean_up_jobs"]["end_date"]).timestamp()

    def _queue_janitor_run(self) -> str:
        """The id of a run that has yet to begin. Runs go one after the other, so all cases that wait share it."""
        with self._janitor_lock:
            for (dag_id, run_id), state in self._ask_for_runs().items():
                if dag_id == JANITOR and state == "queued":
                    return run_id
            return str(self.api("POST", f"/dags/{JANITOR}/dagRuns", {"logical_date": None})["dag_run_id"])


class CachedQuery:
    """An answer that many threads want: it is asked for once in `seconds`, by whoever comes first."""

    def __init__(self, ask: Callable[[], Any], seconds: float = PAUSE_SECONDS) -> None:
        self._ask, self._seconds = ask, seconds
        self._lock = threading.Lock()
        self._at = self._forgotten = float("-inf")
        self._answer: Any = None

    def invalidate(self) -> None:
        """What was asked until now counts no more, also where its answer is still on its way."""
        self._forgotten = time.monotonic()

    def get(self) -> Any:
        """An answer to a question asked at most so many seconds ago."""
        asked = time.monotonic()
        with self._lock:
            if asked - self._at > self._seconds or self._at <= self._forgotten:
                at = time.monotonic()
                self._answer = self._ask()
                self._at = at
            return self._answer


def wait_until(
    holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS, pause: float = PAUSE_SECONDS
) -> Any:
    """What `holds` returns, once that is true. A process that is down for the moment is asked again.

    Raises:
        AssertionError: it was not true in time; says what was waited for.
    """
    deadline = time.monotonic() + seconds
    trouble: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
            trouble = None
        except (OSError, LaptopError) as error:
            trouble = error
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:.0f} s: {what}" + (f" ({trouble})" if trouble else ""))


def deploy(root: Path, pipelines: Iterable[Pipeline]) -> None:
    """Lay out dags/, plugins/ and include/ below `root`, with the pipelines, a DAG for each, and the janitor."""
    for folder in ("plugins", "include"):
        shutil.copytree(REPO / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (root / "include" / "pipelines").glob("*.yaml"):
        path.unlink()
    (root / "dags").mkdir()
    shutil.copy(data.DEPLOYED / "fault_tuning.py", root / "include")
    shutil.copy(data.DEPLOYED / "janitor.py", root / "dags")
    shutil.copy(REPO / "tests" / "end_to_end" / "to_file.py", root / "plugins")
    preloading.preload(root)
    template = (data.DEPLOYED / "dag.py.tmpl").read_text()
    for pipeline in pipelines:
        document = yaml.safe_load((data.DEPLOYED / "pipeline.yaml").read_text())
        document.update(name=pipeline.name, output={"uri": get_output_uri(pipeline.name), "grace_minutes": 0})
        document["model"]["containers"][0]["model_data"] = data.get_model_uri(pipeline.name)
        for name, value in pipeline.settings.items():
            set_at_path(document, name, value)
        (root / "include" / "pipelines" / f"{pipeline.name}.yaml").write_text(yaml.safe_dump(document))
        changes = {task: dict(attributes) for task, attributes in pipeline.tuning.items()}
        dag = template.format(name=pipeline.name, changes=repr(changes))
        (root / "dags" / f"{pipeline.name}.py").write_text(dag)


def get_output_uri(pipeline: str) -> str:
    """Where a pipeline's runs publish."""
    return f"s3://{data.BUCKET}/output/{pipeline}/"


def set_at_path(document: Any, name: str, value: Any) -> None:
    """Set the value at a dotted name; numbers count in lists."""
    *parents, last = name.split(".")
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document.setdefault(part, {})
    document[last] = value


@contextlib.contextmanager
def running_suite(database: str, state: Path, pipelines: list[Pipeline]) -> Iterator[Suite]:
    """The deployment on "sqlite" or "postgresql", healthy, with every DAG parsed and unpaused."""
    with contextlib.ExitStack() as stack:
        root, home = state / "deployed", state / "airflow"
        deploy(root, pipelines)
        aws = EmbeddedAws(state / "aws", stack)
        environment = {**build_airflow_environment(home, aws.server.url, root=root), **FAST_AIRFLOW_SETTINGS}
        connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
        # A request that is held stays one request, however long that is.
        connection["extra"]["config_kwargs"] = {"read_timeout": HOLD_SECONDS}
        environment["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
        python = os.environ.get("FAULTS_PYTHON", sys.executable)
        if database == "postgresql":
            python = stack.enter_context(use_postgres(environment))
        # Airflow 3.0.6 takes a DAG whose worker was killed for stale, until its file is parsed again.
        reparse_seconds = 30 if "FAULTS_PYTHON" in os.environ else 600
        airflow = KillableAirflow(
            environment, api_port=find_free_ports(1)[0], python=python, reparse_seconds=reparse_seconds
        )
        migration = start_migration(airflow.environment, python=python)
        data.upload(aws.s3, [pipeline.name for pipeline in pipelines])
        # All of them have the same role.
        first = load_pipeline(root / "include" / "pipelines" / f"{pipelines[0].name}.yaml")
        create_buckets_and_role(aws.s3, first)
        wait_for_migration(migration, airflow.environment)
        stack.callback(airflow.stop)
        airflow.start()
        airflow.wait_until_healthy(timeout_seconds=PATIENCE_SECONDS)
        suite = Suite(airflow, aws, root)
        wanted = {JANITOR, *(pipeline.name for pipeline in pipelines)}
        wait_until(lambda: wanted <= known_dags(suite), "every DAG is parsed")
        suite.api("PATCH", "/dags?dag_id_pattern=%25", {"is_paused": False})
        yield suite


def known_dags(suite: Suite) -> set[str]:
    """The DAGs that Airflow knows.

    Raises:
        AssertionError: one of the files does not load.
    """
    errors = suite.api("GET", "/importErrors")["import_errors"]
    assert errors == [], errors
    return {dag["dag_id"] for dag in suite.api("GET", "/dags?limit=1000")["dags"]}
