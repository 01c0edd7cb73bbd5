"""The job that joins, on an AWS that runs it: chosen by `choose_join`, built by the chain, read by `collect_parts`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import load_pipeline
from batch_inference.dag.tasks.choose_join import choose_join, collect_parts
from batch_inference.dag.tasks.plan import read_code, upload_code
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.parts import join_part
from batch_inference.requests.sagemaker import (
    JOB_NAME_TOKEN,
    build_config,
    build_join_spec,
    build_requests,
    replace_tokens,
)
from tests.integration.dag.test_choose_join import ANSWERED, JOB, NONCE, RUN, TOKEN, WROTE, Task
from tests.integration.local_aws.servers import Server, run_server
from tests.integration.plan_builder import write_plan
from tests.unit.builders import EXAMPLE, example

pytestmark = pytest.mark.local_only

JOIN_JOB = f"abalone-join-{TOKEN}-1"
NAMES = [f"algo-{host}-{number:05d}" for host in (1, 2) for number in range(3)]
RECORDS = {
    name: "".join(f'"M, {name}",0.{line},0.3,0.1,0.5,0.2,0.1,0.15\n' for line in range(place + 2)).encode()
    for place, name in enumerate(NAMES)
}
ANSWERS = {
    name: "".join(f'{{"score": {line}.5}}\n' for line in range(place + 2)).encode()
    for place, name in enumerate(NAMES)
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded AWS that provisions at once."""
    with run_server(tmp_path_factory.mktemp("aws"), {"provisioning_seconds": 0}) as found:
        yield found


@pytest.fixture
def storage(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """What `preprocess` and the transform wrote, and a pipeline that publishes CSV and is joined by jobs."""
    document = yaml.safe_load(EXAMPLE.read_text())
    document.update(aws_conn_id="aws_test", join={"format": "csv", "processing_above": 0})
    (tmp_path / "abalone.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setattr("batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", build_aws_connection(server.url))
    made = Storage("aws_test")
    made.client.create_bucket(Bucket="bucket")
    columns = [column["name"] for column in document["input"]["columns"] if not column.get("optional")]
    shards = [
        {"name": name, "records": 1, "bytes": len(RECORDS[name]), "columns": columns,
         "records_key": f"records/{name}.csv", "features_key": f"features/{name}.csv"}
        for name in NAMES
    ]  # fmt: skip
    counts = {"records_in": 2, "records_out": 2, "rejected": 0}
    made.write_json(f"{WROTE}shards.json", {**counts, "shards": shards})
    for name in NAMES:
        made.write(f"{WROTE}records/{name}.csv", RECORDS[name])
        made.write(f"{ANSWERED}{name}.csv.out", ANSWERS[name])
    upload_code(made, RunPaths(RUN), read_code(example(), EXAMPLE.parent))
    write_plan(made, RUN, document, nonce=NONCE)
    return made


def test_two_instances_write_what_a_worker_writes(server: Server, storage: Storage, tmp_path: Path) -> None:
    """Byte for byte, part by part, in the order of the shards."""
    task, config = (
        Task({**JOB, "threshold_bytes": 0, "instance_count": 2}, storage),
        load_pipeline(tmp_path / "abalone.yaml"),
    )
    assert choose_join("abalone", ti=task) == "join_job"
    told = task.values[("choose_join", "job")]
    planned = {
        "run_prefix": RUN, "join.job.instance_type": "ml.m5.xlarge", "join.job.volume_size_gb": 30,
        "join.job.max_runtime_seconds": 600,
    }  # fmt: skip
    values = {"base_name": JOIN_JOB, "instance_count": told["instance_count"], "join_inputs": told["inputs"]}
    requests = build_requests(config, lambda path: planned.get(path, ""), region="us-east-1")
    request = replace_tokens(build_config(requests, "join", values), {JOB_NAME_TOKEN: JOIN_JOB})
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**request)
    deadline = time.monotonic() + 240
    while (found := sagemaker.describe_processing_job(ProcessingJobName=JOIN_JOB))[
        "ProcessingJobStatus"
    ] == "InProgress":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found["ProcessingJobStatus"] == "Completed", found
    task.values[("await_join_job", "return_value")] = {"job_name": JOIN_JOB, "instance_count": 2}
    parts = collect_parts("abalone", [], ti=task)
    assert [list(part["shards"]) for part in parts] == [[name] for name in NAMES]
    spec = JoinSpec.from_dict(build_join_spec(config))
    for name, part in zip(NAMES, parts, strict=True):
        (tmp_path / "records").write_bytes(RECORDS[name])
        (tmp_path / "answers").write_bytes(ANSWERS[name])
        columns = [column.name for column in config.input.columns if not column.optional]
        here = tmp_path / "here.csv"
        expected = join_part(
            [ShardFiles(name, tmp_path / "records", tmp_path / "answers", columns)], here, spec
        )
        assert storage.read(part["uri"]) == here.read_bytes()
        assert {key: part[key] for key in expected} == expected
