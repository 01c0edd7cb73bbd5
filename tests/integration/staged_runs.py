"""Runs of a pipeline without Airflow's processes: the real task bodies on a real S3, the jobs' own code in place."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
import yaml

from batch_inference.aws import s3 as storage_module
from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths, build_job_base_name
from batch_inference.config import pipeline_files
from batch_inference.config.run_params import build_param_specs
from batch_inference.dag.task_functions import SkipDownstream
from batch_inference.dag.tasks import checks, collect_shards, join_group, plan, publish, report
from batch_inference.jobs.common.container import Container
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from batch_inference.requests.sagemaker import list_manifest_uris
from batch_inference.run import handoffs, scored_run, task_ids
from sagemaker_jobs.job.output_files import write_output_listing

ROLE = "arn:aws:iam::123456789012:role/scoring"
Model = Callable[[list[str]], Any]


def document(name: str = "churn", **changes: Any) -> dict[str, Any]:
    """A small pipeline on the bucket `bucket`."""
    return {
        "name": name,
        "aws_conn_id": "aws_test",
        "role": ROLE,
        "work": "s3://bucket/work",
        "input": {
            "uri": "s3://bucket/in/date={date}/",
            "columns": [
                {"name": "id", "type": "string"},
                {"name": "sex", "type": "string"},
                {"name": "age", "type": "integer"},
            ],
        },
        "output": {"uri": "s3://bucket/out/date={date}/"},
        "rules": [{"rule": "required", "columns": ["age"], "name": "age present"}],
        "model": {"containers": [{"image": "registry/model:1", "model_data": "s3://bucket/model/a.tar.gz"}]},
        "preprocess": {"image": "registry/python:3"},
        "predictions": {"fields": {"score": "churn"}},
        **changes,
    }


class FakeTaskInstance:
    """A task instance as the bodies use it, with the XComs of its run."""

    def __init__(self, run: Run, task_id: str, try_number: int = 1) -> None:
        self.xcoms, self.task_id, self.try_number = run.xcoms, task_id, try_number
        self.dag_id, self.run_id, self.states = run.pipeline, run.run_id, run.states
        self.active = {run.run_id, *run.pipelines.active}
        self.map_index, self.max_tries, self.task = -1, 2, SimpleNamespace(retries=2)

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        """As Airflow counts runs; `active` are those that are queued or running."""
        assert states == ["queued", "running"]
        return sum(run_id in self.active for run_id in run_ids)

    def get_task_states(
        self, *, dag_id: str, run_ids: list[str], task_ids: list[str] | None = None
    ) -> dict[str, dict[str, str | None]]:
        """The states of the run's tasks, as Airflow tells them."""
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        known = {task: state for task, state in self.states.items() if not task_ids or task in task_ids}
        return {self.run_id: known} if known else {}

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        """What a task has handed on, through JSON as in Airflow."""
        value = self.xcoms.get((task_ids, key))
        return json.loads(json.dumps(value))

    def xcom_push(self, key: str, value: Any) -> None:
        """Hand on a value of this task."""
        self.xcoms[self.task_id, key] = value


class OutletEvents:
    """Collects what would become Asset events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.extra: dict[str, Any] = {}
        self.partition_keys: list[str] = []

    def __getitem__(self, _: Any) -> OutletEvents:
        return self

    def add_partitions(self, key: str) -> None:
        """The event of one partition."""
        self.partition_keys.append(key)

    def add(self, _: Any, extra: dict[str, Any]) -> None:
        """One event."""
        self.events.append(extra)


@dataclass
class Pipelines:
    """A folder of pipelines, and an S3 where their runs work."""

    storage: Storage
    folder: Path
    events: OutletEvents = field(default_factory=OutletEvents)
    #: Ids of runs that are running besides the one whose task is run.
    active: set[str] = field(default_factory=set)

    def write(self, made: dict[str, Any]) -> None:
        """Deploy a pipeline, or its next version."""
        (self.folder / f"{made['name']}.yaml").write_text(yaml.safe_dump(made))

    def upload(self, day: int, rows: Iterable[str], name: str = "a.csv") -> None:
        """Input of one day of January 2026."""
        self.storage.write(
            f"s3://bucket/in/date=2026-01-{day:02d}/{name}", "".join(f"{row}\n" for row in rows)
        )

    def run(self, run_id: str, day: int, model: Model, *, pipeline: str = "churn", **conf: Any) -> Run:
        """A run that was started and has done nothing yet."""
        return Run(self, pipeline, run_id, datetime(2026, 1, day, 2, tzinfo=UTC), model, conf)


@dataclass
class Run:
    """One run; `xcoms` are what its tasks have handed on, `states` theirs where Airflow is asked for them."""

    pipelines: Pipelines
    pipeline: str
    run_id: str
    data_time: datetime
    model: Model
    conf: dict[str, Any]
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)
    skipped: str | None = None

    def task(self, task_id: str, body: Callable[..., Any], *, try_number: int = 1, **more: Any) -> Any:
        """Run a task's body as Airflow does and keep what it returns."""
        config = pipeline_files.load_pipeline_by_id(self.pipeline)
        found = body(
            self.pipeline,
            ti=FakeTaskInstance(self, task_id, try_number),
            dag_run=SimpleNamespace(
                run_id=self.run_id, conf=self.conf, data_interval_start=self.data_time, logical_date=self.data_time,
                run_after=self.data_time,
            ),
            params={name: self.conf.get(name, spec["default"]) for name, spec in build_param_specs(config).items()},
            outlet_events=self.pipelines.events,
            task=SimpleNamespace(outlets=[]),
            **more,
        )  # fmt: skip
        if isinstance(found, SkipDownstream):
            self.skipped, found = found.until or "the end", found.value
        self.xcoms[task_id, "return_value"] = found
        return found

    def run_all_tasks(self, *, with_report: bool = True) -> dict[str, Any]:
        """All tasks in their order; what the last one returns, or nothing when the run ends early."""
        self.task(task_ids.PLAN, plan.plan_run)
        if not self.skipped:
            self.prepare()
            self.collect_shards()
            self.transform()
            joined = [
                self.task(task_ids.JOIN, join_group.join_group, group=group)
                for group in self.xcoms[task_ids.AWAIT_PREPROCESS, "return_value"]
            ]
        elif self.skipped == task_ids.CHECKS:
            joined = []
        else:
            return {}
        self.task(task_ids.CHECKS, checks.run_checks, joined=joined)
        done: dict[str, Any] = self.task(task_ids.PUBLISH, publish.publish)
        return self.task(task_ids.CLEAN_UP, report.write_report) if with_report else done

    def prepare(self) -> None:
        """What the processing job does: its own code, on one host."""
        storage, paths = self.pipelines.storage, self.paths
        base = self.pipelines.folder / "jobs" / self.job("preprocess")
        config = parse_config(storage.read_json(paths.preprocess_config))
        for uri in list_manifest_uris(storage.read_json(paths.input_manifest)):
            storage.download(uri, base / "processing" / "input" / "data" / uri.rsplit("/", 1)[1])
        container = Container(base, "algo-1", ("algo-1",))
        preprocess(container, config)
        root = paths.build_job_paths(self.job("preprocess")).root
        for path in container.output_dir.rglob("*"):
            if path.is_file():
                storage.upload(path, f"{root}{path.relative_to(container.output_dir).as_posix()}")
        self.xcoms[handoffs.PREPROCESS_JOB] = self.build_job_result("preprocess", root)

    def collect_shards(self) -> Any:
        """What `await_preprocess` does when the job has ended; the groups of shards."""
        return self.task(task_ids.AWAIT_PREPROCESS, collect_shards.collect_shards)

    def transform(self) -> None:
        """What the transform job does: an object of answers for each object of features."""
        storage, wrote = self.pipelines.storage, self.paths.build_job_paths(self.job("preprocess"))
        target = self.paths.build_job_paths(self.job("transform")).predictions
        for uri in storage.list_uris(wrote.features):
            lines = storage.read(uri).decode().splitlines()
            answers = "".join(f"{answer}\n" for answer in self.predict(lines))
            storage.write(f"{target}{uri.rsplit('/', 1)[1]}.out", answers)
        self.xcoms[task_ids.AWAIT_TRANSFORM, "return_value"] = {
            **self.build_job_result("transform", target),
            "model_name": "model",
        }
        source = {"S3DataType": "S3Prefix", "S3Uri": wrote.features}
        self.xcoms[task_ids.TRANSFORM, "spec"] = {
            "base_name": self.job("transform").removesuffix("-1"),
            "request": {"TransformInput": {"DataSource": {"S3DataSource": source}}},
        }

    def predict(self, lines: list[str]) -> list[str]:
        """What the model's container answers to the lines of an object: one line for each."""
        return [json.dumps({"score": self.model(line.split(","))}) for line in lines]

    def build_job_result(self, stage: str, output: str) -> dict[str, Any]:
        """The finished job of a stage, as the task that waited for it hands it on."""
        return {
            "kind": "Processing" if stage == "preprocess" else "Transform", "job_name": self.job(stage),
            "instance_type": "ml.m5.xlarge", "instance_count": 1, "created_at": 0.0, "started_at": 10.0,
            "ended_at": 70.0, "attempt": 1, "output_uris": [output],
            "listing": write_output_listing(self.pipelines.storage.client, [output]),
        }  # fmt: skip

    def job(self, stage: str) -> str:
        """Name of the job of a stage."""
        nonce = self.xcoms[task_ids.PLAN, "return_value"]["nonce"]
        return build_job_base_name(pipeline=self.pipeline, step=stage, nonce=nonce, task_id=stage) + "-1"

    @property
    def paths(self) -> RunPaths:
        """Where the run works."""
        return RunPaths(self.xcoms[task_ids.PLAN, "return_value"]["run_prefix"])

    def json(self, uri: str) -> Any:
        """A document of the run."""
        return self.pipelines.storage.read_json(uri)


def published(storage: Storage, output: str) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """The rows that a reader who follows the manifest sees, and the manifest."""
    import io

    manifest = storage.read_json(f"{output}_manifest.json")
    frames = [pandas.read_parquet(io.BytesIO(storage.read(file["uri"]))) for file in manifest["files"]]
    return pandas.concat(frames, ignore_index=True), manifest


@pytest.fixture
def deployed(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    """An empty bucket but for the model, and no pipeline yet."""
    storage.delete(storage.list_uris("s3://bucket/"))
    for name in ("a", "b"):
        storage.write(f"s3://bucket/model/{name}.tar.gz", "model")
    monkeypatch.setattr(pipeline_files, "_FOLDERS", defaultdict(lambda: tmp_path))
    monkeypatch.setattr(plan, "read_quotas", lambda *_: {})
    # The jobs run in place, and pages have tests of their own.
    monkeypatch.setattr(plan, "upload_code", lambda *_: None)
    monkeypatch.setattr(report, "render_html", lambda _: "")
    # A client takes longer to make than a run takes to stage, so all tasks have one.
    monkeypatch.setattr(storage_module, "S3Hook", lambda **_: SimpleNamespace(conn=storage.client))
    monkeypatch.setattr(
        scored_run, "read_instance_activity", lambda *_: {"busy_seconds": None, "instances": None}
    )
    # A request log of all that moto answers is no help, and is kept for each test.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    return Pipelines(storage, tmp_path)
