"""What end-to-end tests do with a running Airflow: deploy pipelines, trigger runs, wait, read what was published."""

from __future__ import annotations

import dataclasses
import io
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas
import psutil
import yaml

from batch_inference.cli.laptop.airflow_processes import AirflowProcesses, RestApi
from batch_inference.cli.laptop.environment import LaptopError
from batch_inference.cli.laptop.sample import create_buckets_and_role, upload_sample
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline, load_pipeline

ENDED = {"success", "failed"}
#: How often the DAG file is changed until a DAG is there, and how long each change has.
DAG_READS, DAG_READ_SECONDS = 10, 30

ADMIN, VIEWER = "admin", "viewer"
#: Who may log in, and their passwords.
USERS = {ADMIN: "only-for-these-tests", VIEWER: "only-for-those-tests"}


@dataclasses.dataclass(frozen=True)
class PasswordApi(RestApi):
    """The REST API of an Airflow whose users have passwords."""

    user: str
    password: str = dataclasses.field(repr=False)

    def fetch_token(self) -> str:
        """A bearer token for the user."""
        request = urllib.request.Request(
            f"{self.url}/auth/token",
            data=json.dumps({"username": self.user, "password": self.password}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(json.load(answer)["access_token"])


class SharedAirflow(AirflowProcesses):
    """Airflow's components, which another process has started."""

    def __init__(self, environment: Mapping[str, str], url: str, processes: Mapping[str, int]) -> None:
        self.environment = dict(environment)
        self.home = Path(environment["AIRFLOW_HOME"])
        self.api = PasswordApi(url, ADMIN, USERS[ADMIN])
        self.pids = dict(processes)

    def raise_if_dead(self) -> None:
        """Raise LaptopError with the end of its log when a component has ended."""
        for component, pid in self.pids.items():
            if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                tail = self.get_log_path(component).read_text(errors="replace")[-1500:]
                raise LaptopError(f"airflow {component} has ended: {tail}")


@dataclasses.dataclass
class Deployment:
    """One running Airflow on a copy of the repository, and the embedded AWS beside it."""

    airflow: AirflowProcesses
    s3: Any
    root: Path
    endpoint: str
    sample: Path

    @property
    def told(self) -> Path:
        """What the notifiers of `to_file.py` write to, whoever's they are."""
        return self.root / "told.txt"

    def pipeline(self, name: str) -> Pipeline:
        """The deployed pipeline of this name."""
        return load_pipeline(self.root / "include" / "pipelines" / f"{name}.yaml")

    def upload_sample(self) -> None:
        """Put the sample's data and model where the abalone pipeline looks."""
        pipeline = self.pipeline("abalone")
        create_buckets_and_role(self.s3, pipeline)
        upload_sample(self.s3, pipeline, self.sample)

    def deploy(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Deploy a variant of the abalone pipeline without a schedule, and wait until Airflow can run it."""
        self.write_pipeline(name, change)
        self.unpause(name)

    def write_pipeline(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Put the variant where Airflow will find it."""
        pipelines = self.root / "include" / "pipelines"
        document = yaml.safe_load((pipelines / "abalone.yaml").read_text())
        document.update(name=name, schedule=None)
        change(document)
        self.write_pipeline_file(name, yaml.safe_dump(document))

    def write_pipeline_file(self, name: str, text: str) -> None:
        """Put a file among the pipelines, and have Airflow read them; whoever sees it sees all of it."""
        new = self.root / f"{name}.yaml.new"
        new.write_text(text)
        new.rename(self.root / "include" / "pipelines" / f"{name}.yaml")
        self.have_pipelines_read()

    def have_pipelines_read(self) -> None:
        """Change the DAG file, which Airflow then reads, and with it all pipelines."""
        (self.root / "dags" / "pipelines.py").touch()

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG's runs, once Airflow has read its pipeline.

        A change of the DAG file while the dag-processor parses it is not seen: it is older than the end of that parse.
        So the file is changed again for as long as the DAG is missing.
        """
        for attempts_left in reversed(range(DAG_READS)):
            try:
                self.airflow.wait_for_dag(dag_id, timeout_seconds=DAG_READ_SECONDS)
                break
            except LaptopError:
                if not attempts_left:
                    raise
                self.have_pipelines_read()
        self.airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any], *, logical_date: str | None = None) -> str:
        """Start a run as a person does; its run id."""
        answer = self.airflow.api.call(
            "POST", f"/dags/{dag_id}/dagRuns", {"logical_date": logical_date, "conf": conf}
        )
        return str(answer["dag_run_id"])

    def run_path(self, dag_id: str, run_id: str) -> str:
        """Path of a run in the REST API."""
        return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Each task of a run as the REST API describes it; a mapped task's instances as `task[index]`."""
        answer = self.airflow.api.call("GET", f"{self.run_path(dag_id, run_id)}/taskInstances?limit=200")
        return {
            each["task_id"] if each["map_index"] < 0 else f"{each['task_id']}[{each['map_index']}]": each
            for each in answer["task_instances"]
        }

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of a run, by the same names."""
        return {name: each["state"] for name, each in self.task_instances(dag_id, run_id).items()}

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        seconds: float = 900,
        pause: float = 2,
        watch: Callable[[], None] = lambda: None,
    ) -> str:
        """The final state of a run; `watch` is called at each look, and `pause` seconds are between two."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.airflow.raise_if_dead()
            watch()
            state = self.airflow.api.call("GET", self.run_path(dag_id, run_id))["state"]
            if state in ENDED:
                return str(state)
            time.sleep(pause)
        raise AssertionError(f"{dag_id} {run_id} did not end in {seconds} s: {self.states(dag_id, run_id)}")

    def wait_for_task(self, dag_id: str, run_id: str, task: str, state: str, *, seconds: float = 900) -> None:
        """Return when the task is in this state."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = self.states(dag_id, run_id)
            if states.get(task) == state:
                return
            time.sleep(0.5)
        raise AssertionError(f"{task} of {run_id} was not {state} in {seconds} s: {states}")

    def wait_for_run(self, dag_id: str, *, seconds: float = 600) -> dict[str, Any]:
        """The only run of a DAG that something else than a test starts, once it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            runs = self.airflow.api.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
            if runs:
                (run,) = runs
                return dict(run)
            time.sleep(0.5)
        raise AssertionError(f"{dag_id} has no run after {seconds} s")

    def arm_fault(self, kind: str, **fields: Any) -> None:
        """Have the embedded AWS do this."""
        body = json.dumps({"kind": kind, **fields}).encode()
        urllib.request.urlopen(f"{self.endpoint}/_local/faults", body, timeout=30).close()

    def hold(self, name: str, key_contains: str) -> None:
        """Have the embedded AWS keep back the objects with such keys, until `release` or for ten minutes.

        So a job waits for its input, and does not end before somebody has seen it at work.
        """
        self.arm_fault(
            "s3_hold", name=name, operation="GetObject", key_contains=key_contains, count=100, seconds=600
        )

    def release(self, name: str) -> None:
        """Let go what is held by this name."""
        request = urllib.request.Request(f"{self.endpoint}/_local/faults?name={quote(name)}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def wait_for_lines(self, run_id: str, count: int, *, seconds: float = 600) -> list[str]:
        """What notifiers have told of a run; Airflow calls a DAG's own callbacks after the run has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.told.read_text().splitlines() if self.told.exists() else []
            of_run = [line for line in found if run_id in line]
            if len(of_run) >= count:
                return of_run
            time.sleep(0.5)
        raise AssertionError(f"{self.told} has not {count} lines of {run_id} after {seconds} s")

    def task_log(self, dag_id: str, run_id: str, task: str) -> str:
        """What all tries of a task logged, as Airflow keeps it on disk; then the messages again, as one line.

        Long messages are logged in several lines.
        """
        folder = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}"
        text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.log*")))
        events = [json.loads(line).get("event") for line in text.splitlines() if line.startswith("{")]
        return f"{text}\n{' '.join(str(event).strip() for event in events)}"

    def xcom(self, dag_id: str, run_id: str, task: str, key: str = "return_value") -> Any:
        """What a task handed on."""
        path = f"{self.run_path(dag_id, run_id)}/taskInstances/{task}/xcomEntries/{key}"
        path += "?deserialize=false&stringify=false"
        value = self.airflow.api.call("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The objects below a prefix, by their key relative to it."""
        bucket, key = split_s3_uri(prefix)
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        return {
            entry["Key"].removeprefix(key): self.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            for page in pages
            for entry in page.get("Contents", ())
        }

    def read_published(self, prefix: str) -> tuple[pandas.DataFrame, dict[str, Any]]:
        """The rows that a reader who follows `_manifest.json` sees, in order, and the manifest."""
        objects = self.objects(prefix)
        manifest = json.loads(objects["_manifest.json"])
        contents = (objects[file["uri"].removeprefix(prefix)] for file in manifest["files"])
        frames = [pandas.read_parquet(io.BytesIO(content)) for content in contents]
        return pandas.concat(frames, ignore_index=True), manifest
