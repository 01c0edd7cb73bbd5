"""What end-to-end tests do with a running Airflow: deploy pipelines, trigger runs, wait, read what was published."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas
import yaml

from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline, load_pipeline
from tools.airflow_processes import AirflowProcesses
from tools.sample import create_buckets, upload_sample

ENDED = {"success", "failed"}
DAG_FILE = """# A pipeline of an Airflow test.
from batch_inference.dag.scoring_dag import build_scoring_dag

dag = build_scoring_dag("{name}")
"""


@dataclasses.dataclass
class Deployment:
    """One running Airflow on a copy of the repository, and the embedded AWS beside it."""

    airflow: AirflowProcesses
    s3: Any
    root: Path
    endpoint: str
    sample: Path

    def pipeline(self, name: str) -> Pipeline:
        """The deployed pipeline of this name."""
        return load_pipeline(self.root / "include" / "pipelines" / f"{name}.yaml")

    def upload_sample(self) -> None:
        """Put the sample's data and model where the abalone pipeline looks."""
        pipeline = self.pipeline("abalone")
        create_buckets(self.s3, pipeline)
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
        (pipelines / f"{name}.yaml").write_text(yaml.safe_dump(document))
        (self.root / "dags" / f"{name}.py").write_text(DAG_FILE.format(name=name))

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG's runs."""
        self.airflow.wait_for_dag(dag_id)
        self.airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run as the UI does, with no logical date; its run id."""
        answer = self.airflow.api.call(
            "POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf}
        )
        return str(answer["dag_run_id"])

    def run_path(self, dag_id: str, run_id: str) -> str:
        """Path of a run in the REST API."""
        return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of a run; a mapped task's instances as `task[index]`."""
        answer = self.airflow.api.call("GET", f"{self.run_path(dag_id, run_id)}/taskInstances?limit=200")
        return {
            each["task_id"] if each["map_index"] < 0 else f"{each['task_id']}[{each['map_index']}]": each[
                "state"
            ]
            for each in answer["task_instances"]
        }

    def wait(
        self, dag_id: str, run_id: str, *, seconds: float = 240, watch: Callable[[], None] = lambda: None
    ) -> str:
        """The final state of a run; `watch` is called at each look."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.airflow.raise_if_dead()
            watch()
            state = self.airflow.api.call("GET", self.run_path(dag_id, run_id))["state"]
            if state in ENDED:
                return str(state)
            time.sleep(0.5)
        raise AssertionError(f"{dag_id} {run_id} did not end in {seconds} s: {self.states(dag_id, run_id)}")

    def wait_for_task(self, dag_id: str, run_id: str, task: str, state: str, *, seconds: float = 120) -> None:
        """Return when the task is in this state."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = self.states(dag_id, run_id)
            if states.get(task) == state:
                return
            time.sleep(0.3)
        raise AssertionError(f"{task} of {run_id} was not {state} in {seconds} s: {states}")

    def task_log(self, dag_id: str, run_id: str, task: str) -> str:
        """What all tries of a task logged, as Airflow keeps it on disk."""
        folder = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}"
        return "\n".join(path.read_text() for path in sorted(folder.rglob("*.log*")))

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
