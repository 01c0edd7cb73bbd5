"""Who joins a run, and what the processing job that joins is told and has to account for."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ManifestError, ReconciliationError
from batch_inference.common.names import build_name_token
from batch_inference.dag.tasks.choose_join import choose_join, collect_parts
from batch_inference.jobs.join.join_job import JoinConfig, read_join_config
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import read_join_job
from sagemaker_jobs.job.output_files import write_output_listing
from tests.integration.plan_builder import build_plan, write_plan
from tests.unit.builders import EXAMPLE

RUN = "s3://bucket/work/abalone/run-1/"
NONCE = "0123456789abcdef"
TOKEN = build_name_token(NONCE)
WROTE = f"{RUN}abalone-preprocess-{TOKEN}-1/"
TRANSFORM = f"abalone-transform-{TOKEN}-1"
ANSWERED = f"{RUN}{TRANSFORM}/predictions/"
JOB = {
    "threshold_bytes": 100,
    "instance_type": "ml.m5.xlarge",
    "instance_types": ["ml.m5.xlarge"],
    "instance_count": 4,
    "volume_size_gb": 30,
    "max_runtime_seconds": 60,
}


def ended(storage: Storage, name: str, output: str) -> dict[str, Any]:
    """A job as the task that waited for it hands it on."""
    listing = write_output_listing(storage.client, [output])
    return {"job_name": name, "output_uris": [output], "listing": listing}


class Task:
    """A task instance as far as the two functions ask for one."""

    try_number = 1

    def __init__(self, job: dict[str, Any] | None, storage: Storage) -> None:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"{WROTE}features/"}
        spec: dict[str, Any] = {"request": {"TransformInput": {"DataSource": {"S3DataSource": source}}}}
        self.values: dict[tuple[str, str], Any] = {
            ("plan", "return_value"): build_plan(RUN, nonce=NONCE, join={"group_bytes": 1, "job": job}),
            ("await_preprocess", "shard_stats"): {
                "preprocess_job": f"abalone-preprocess-{TOKEN}-1",
                "nonce": NONCE,
            },
            ("transform", "spec"): {**spec, "base_name": TRANSFORM.removesuffix("-1")},
            ("await_preprocess", "job"): ended(storage, f"abalone-preprocess-{TOKEN}-1", WROTE),
            ("await_transform", "return_value"): ended(storage, TRANSFORM, ANSWERED),
        }

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.values.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.values[("choose_join" if key == "job" else "collect_parts", key)] = json.loads(json.dumps(value))


@pytest.fixture
def run(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Two shards of 80 bytes of records each."""
    document = yaml.safe_load(EXAMPLE.read_text())
    document["aws_conn_id"] = "aws_test"
    document["join"]["processing_above"] = 100
    (tmp_path / "abalone.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setattr("batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: tmp_path))
    shards = [
        {"name": name, "records": 5, "bytes": 80, "records_key": f"records/{name}.csv", "columns": ["sex"],
         "features_key": f"features/{name}.csv"}
        for name in ("algo-1-00000", "algo-2-00000")
    ]  # fmt: skip
    storage.delete(storage.list_uris(RUN))
    for shard in shards:
        storage.write(f"{WROTE}{shard['records_key']}", "a record\n")
        storage.write(f"{ANSWERED}{shard['name']}.csv.out", "99.5\n")
    counts = {"records_in": 10, "records_out": 10, "rejected": 0}
    storage.write_json(f"{WROTE}shards.json", {**counts, "shards": shards})
    write_plan(storage, RUN, document, nonce=NONCE)
    return storage


def test_up_to_the_limit_airflow_joins(run: Storage) -> None:
    """Also where the input was larger, but most of it was rejected; nothing is written for a job."""
    assert choose_join("abalone", ti=Task({**JOB, "threshold_bytes": 160}, run)) == "join"
    assert choose_join("abalone", ti=Task(None, run)) == "join"
    assert run.list_uris(f"{RUN}join-inputs/") == []


def test_above_it_the_job_is_told_which_records_and_answers(run: Storage, tmp_path: Path) -> None:
    """By manifests whose names are the paths that its configuration has; on no more instances than shards."""
    task = Task(JOB, run)
    assert choose_join("abalone", ti=task) == "join_job"
    told = task.values[("choose_join", "job")]
    assert told["instance_count"] == 2
    names = [f"abalone-preprocess-{TOKEN}-1/records/{name}.csv" for name in ("algo-1-00000", "algo-2-00000")]
    answers = [f"{TRANSFORM}/predictions/{name}.csv.out" for name in ("algo-1-00000", "algo-2-00000")]
    assert run.read_json(f"{told['inputs']}records.manifest") == [{"prefix": RUN}, *names]
    assert run.read_json(f"{told['inputs']}predictions.manifest") == [{"prefix": RUN}, *answers]
    config = read_join_config(run.download(f"{told['inputs']}config/join.json", tmp_path / "join.json"))
    assert isinstance(config, JoinConfig)
    assert [(shard.number, shard.records, shard.predictions) for shard in config.shards] == [
        (0, names[0], answers[0]),
        (1, names[1], answers[1]),
    ]


def account(storage: Storage, *hosts: str) -> Task:
    """The manifests of these hosts of a job of two, later shards first."""
    for number, host in enumerate(hosts):
        part = {"number": 1 - number, "key": f"parts/part-0000{1 - number}.csv", "rows": 5, "bytes": 9, "sha256": "0",
                "statistics_key": "parts/s.json", "shards": {f"{host}-00000": 5}}  # fmt: skip
        document = {"host": host, "hosts": ["algo-1", "algo-2"], "parts": [part], "busy_seconds": 1.5,
                    "started_at": 1200.0, "ended_at": 1201.5}  # fmt: skip
        storage.write_json(f"{RUN}abalone-join-{TOKEN}-{len(hosts)}/manifest/{host}.json", document)
    task = Task(JOB, storage)
    task.values[("choose_join", "job")] = {"inputs": "", "instance_count": 2, "nonce": NONCE}
    task.values[("await_join_job", "return_value")] = {
        "job_name": f"abalone-join-{TOKEN}-{len(hosts)}",
        "instance_count": 2,
    }
    return task


def test_the_parts_are_in_the_order_of_the_shards(run: Storage) -> None:
    task = account(run, "algo-1", "algo-2")
    parts = collect_parts("abalone", [], ti=task)
    assert [part["uri"] for part in parts] == [
        f"{RUN}abalone-join-{TOKEN}-2/parts/part-0000{number}.csv" for number in (0, 1)
    ]
    assert [part["jobs"] for part in parts] == [[f"abalone-preprocess-{TOKEN}-1", TRANSFORM]] * 2
    instances = [{"instance": f"algo-{number}", "from": 1200.0, "to": 1201.5} for number in (1, 2)]
    stats = {"busy_seconds": 3.0, "instances": instances}
    assert task.values[("collect_parts", "join_stats")] == {**stats, "nonce": NONCE}
    assert read_join_job(RunContext.load(task)) == {
        **task.values[("await_join_job", "return_value")],
        **stats,
    }


@pytest.mark.parametrize("name", [f"{WROTE}records/algo-2-00000.csv", f"{ANSWERED}algo-1-00000.csv.out"])
@pytest.mark.parametrize("is_deleted", [True, False])
def test_what_the_job_reads_is_looked_at_before_it_and_after_it(
    run: Storage, name: str, is_deleted: bool
) -> None:
    """Its containers read by themselves. Nothing is spent on what was changed, and nothing published of it."""
    before, during = Task(JOB, run), account(run, "algo-1", "algo-2")
    if is_deleted:
        run.delete([name])
    else:
        run.write(name, run.read(name)[:-2])
    said = f"{name}, which" if is_deleted else f"{name} is not what"
    with pytest.raises(ReconciliationError, match=re.escape(said)):
        choose_join("abalone", ti=before)
    with pytest.raises(ReconciliationError, match=re.escape(said)):
        collect_parts("abalone", [], ti=during)


def test_a_host_without_an_account_is_missed(run: Storage) -> None:
    with pytest.raises(
        ManifestError, match=rf"1 of 2 hosts of abalone-join-{TOKEN}-1 wrote a manifest \(algo-1\)"
    ):
        collect_parts("abalone", [], ti=account(run, "algo-1"))


def test_what_the_mapped_tasks_wrote_is_handed_on_as_it_is(run: Storage) -> None:
    task = Task(None, run)
    parts = [{"uri": name, "nonce": NONCE} for name in "ab"]
    assert collect_parts("abalone", iter(parts), ti=task) == parts


def test_a_job_of_before_a_clear_is_not_reported_once_the_workers_join(run: Storage) -> None:
    """Its input was mended and is smaller now; Airflow still knows what the job's tasks returned."""
    task = account(run, "algo-1", "algo-2")
    collect_parts("abalone", [], ti=task)
    assert (read_join_job(RunContext.load(task)) or {})["job_name"] == f"abalone-join-{TOKEN}-2"
    del task.values[("choose_join", "job")]  # as Airflow does when the task starts
    task.values[("plan", "return_value")] = Task(None, run).values[("plan", "return_value")]
    assert choose_join("abalone", ti=task) == "join"
    assert read_join_job(RunContext.load(task)) is None
