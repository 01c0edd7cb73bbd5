"""A canary's tasks: in pipelines that ask for it, skipped where nothing is to be learned, and a shard scored once."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import JobPaths, build_name_token
from batch_inference.config import pipeline_files
from batch_inference.dag.canary_tasks import CanaryJobOperator
from batch_inference.dag.pipeline_dags import build_scoring_dag
from batch_inference.dag.tasks.calibrate import calibrate, move_canary_shard
from batch_inference.planning.clusters.calibration import CalibrationResult
from batch_inference.run.join_inputs import ShardInputs
from batch_inference.run.run_context import RunContext
from batch_inference.run.scored_run import read_calibration
from batch_inference.verification.host_manifests import Shard, ShardList
from sagemaker_jobs.airflow_compat import AirflowSkipException
from sagemaker_jobs.job.output_files import write_output_listing
from tests.integration.plan_builder import build_plan, write_plan
from tests.unit.builders import EXAMPLE, pipeline

NONCE = "0123456789abcdef"
TOKEN = build_name_token(NONCE)
WHERE = JobPaths(f"s3://bucket/run/p-{TOKEN}-1/")
RUN = "s3://bucket/run/"
TYPES = {"instance_types": ["ml.m5.xlarge", "ml.m5.large"]}
PLAN = build_plan(RUN, nonce=NONCE, transform=TYPES)


def shards(number: int) -> list[Shard]:
    """As `preprocess` wrote them."""
    return [
        Shard(
            name=f"s-{each}",
            records=10 + each,
            bytes=100,
            records_key=f"records/s-{each}.csv",
            features_key=f"features/s-{each}.csv",
        )
        for each in range(number)
    ]


def test_one_shard_is_taken_out_of_what_the_transform_reads_once(storage: Storage) -> None:
    """A second try finds it gone and is content; with one shard there is nothing left to size."""
    for shard in shards(3):
        storage.write(f"{WHERE.root}{shard.features_key}", shard.name)
    for _ in range(2):
        assert move_canary_shard(storage, WHERE, shards(3)) == {"shard": "s-0", "records": 10}
        assert storage.list_uris(WHERE.features) == [f"{WHERE.features}s-{each}.csv" for each in (1, 2)]
        assert storage.read(f"{WHERE.canary}s-0.csv") == b"s-0"
    assert move_canary_shard(storage, WHERE, shards(1)) is None


def test_the_join_finds_each_shards_answers_where_they_were_written(storage: Storage) -> None:
    """The first shard's with the canary, the others' with the rest."""
    shard_list = ShardList(records_in=33, records_out=33, rejected=0, shards=tuple(shards(3)))
    storage.write_json(WHERE.shards, shard_list.model_dump(mode="json"))
    storage.write("s3://bucket/run/c/predictions/s-0.csv.out", "0")
    for each in (1, 2):
        storage.write(f"s3://bucket/run/t/predictions/s-{each}.csv.out", str(each))
    for shard in shards(3):
        storage.write(f"{WHERE.root}{shard.records_key}", shard.name)
    source = {"TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": WHERE.features}}}}

    def ended(output: str) -> dict[str, Any]:
        listing = write_output_listing(storage.client, [output])
        return {
            "job_name": f"{'p' if output == WHERE.root else 'j'}-{TOKEN}-1",
            "output_uris": [output],
            "listing": listing,
        }

    known: dict[Any, Any] = {
        ("await_preprocess", "shard_stats"): {
            "preprocess_job": f"p-{TOKEN}-1",
            "canary": {"shard": "s-0", "records": 10},
            "nonce": NONCE,
        },
        ("plan", None): PLAN,
        ("transform", "spec"): {"request": source, "base_name": f"t-{TOKEN}"},
        ("await_preprocess", "job"): ended(WHERE.root),
        ("await_transform", None): {**ended("s3://bucket/run/t/predictions/"), "resolution": None},
        ("await_canary", None): ended("s3://bucket/run/c/predictions/"),
    }
    ti = SimpleNamespace(xcom_pull=lambda task, key=None: known.get((task, key)))
    write_plan(storage, RUN, pipeline(), nonce=NONCE)
    run = RunContext.load(ti)
    assert [each.predictions.uri for each in ShardInputs(run).list_sources()] == [
        "s3://bucket/run/c/predictions/s-0.csv.out",
        "s3://bucket/run/t/predictions/s-1.csv.out",
        "s3://bucket/run/t/predictions/s-2.csv.out",
    ]
    # After a clear, with the model measured, nothing is sent ahead, and `await_canary` is skipped with its old result.
    for each in range(3):
        storage.write(f"s3://bucket/run/again/predictions/s-{each}.csv.out", str(each))
    known["await_transform", None] = {**ended("s3://bucket/run/again/predictions/"), "resolution": None}
    known["await_preprocess", "shard_stats"] = {
        "preprocess_job": f"p-{TOKEN}-1",
        "canary": None,
        "nonce": NONCE,
    }
    assert {each.predictions.uri.rsplit("/", 1)[0] for each in ShardInputs(run).list_sources()} == {
        "s3://bucket/run/again/predictions"
    }


@pytest.mark.usefixtures("airflow_db")
def test_only_pipelines_that_ask_have_the_tasks_and_a_measured_model_skips_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, storage: Storage
) -> None:
    """Then the number of instances is the one that was planned."""
    document = yaml.safe_load(EXAMPLE.read_text())
    document["goals"]["calibrate"] = "canary"
    document["transform"]["on_bad_records"] = "fail"
    (tmp_path / "abalone.yaml").write_text(yaml.safe_dump(document))
    assert "transform_canary" not in build_scoring_dag("abalone", folder=EXAMPLE.parent).task_ids
    monkeypatch.setattr(pipeline_files, "_FOLDERS", defaultdict(lambda: tmp_path))
    dag = build_scoring_dag("abalone", folder=tmp_path)
    assert dag.get_task("transform").upstream_task_ids == {"calibrate"}
    assert dag.get_task("calibrate").upstream_task_ids == {"await_canary"}
    config = dag.get_task("transform").config["Transform"]
    assert "calibrate" in config["TransformResources"]["InstanceCount"]

    write_plan(storage, RUN, document, nonce=NONCE)
    facts = {"canary": None, "instance_count": 3, "nonce": NONCE}
    known: dict[Any, Any] = {
        ("await_preprocess", "shard_stats"): facts,
        ("plan", None): PLAN,
    }
    ti = SimpleNamespace(xcom_pull=lambda task, key=None: known.get((task, key)))
    operator: Any = dag.get_task("transform_canary")
    assert isinstance(operator, CanaryJobOperator)
    with pytest.raises(AirflowSkipException, match="nothing to calibrate"):
        operator.execute({"ti": ti})
    calibration = calibrate("abalone", ti=ti)
    assert calibration == {
        "instance_count": 3,
        "instance_types": ["ml.m5.xlarge", "ml.m5.large"],
        "log": [],
        "nonce": NONCE,
    }
    # `checks` keeps it.
    read = read_calibration(cast(RunContext, SimpleNamespace(pull=lambda *_, **__: calibration)))
    assert read == CalibrationResult(instance_count=3, instance_types=("ml.m5.xlarge", "ml.m5.large"))
