"""The search for refused records on an AWS that runs the jobs, with the scikit-learn image's own `input_fn`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.common.names import JobPaths, build_name_token
from batch_inference.dag.continuation import BadRecordContinuation
from batch_inference.run.join_inputs import read_merged_shards
from sagemaker_jobs.job.spec import JobSpec
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.sensors import TransformJobSensor
from tests.archives import pack_tar_gz
from tests.integration.local_aws.servers import Server, run_server
from tests.integration.plan_builder import write_plan
from tests.integration.sagemaker_jobs.builders import context_of
from tests.unit.builders import pipeline

pytestmark = [pytest.mark.local_only, pytest.mark.timeout(600)]

NONCE = "0123456789abcdef"
RUN = "s3://bucket/work/churn/run-1/"
WROTE = JobPaths(f"{RUN}churn-preprocess-0123-1/")
ROLE = "arn:aws:iam::123456789012:role/service-role/work"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
# As an estimator of scikit-learn: it takes tables alone, and no missing values.
SCRIPT = """
import numpy

class Estimator:
    def predict(self, rows):
        if rows.ndim != 2:
            raise ValueError("Expected 2D array, got 1D array instead")
        if numpy.isnan(rows).any():
            raise ValueError("Input X contains NaN.")
        return rows.sum(axis=1)

def model_fn(folder):
    return Estimator()
"""
BAD = 57


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded AWS that provisions at once."""
    settings = {"provisioning_seconds": 0, "runner.log_flush_seconds": 0.1}
    with run_server(tmp_path_factory.mktemp("aws"), settings) as found:
        yield found


def test_of_a_hundred_records_the_bad_one_alone_is_rejected(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the image makes of one row no table, so that the model refuses each record that is sent alone."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(server.url))
    storage, hook = Storage("aws_default"), SageMakerHook(aws_conn_id="aws_default")
    monkeypatch.setattr("airflow.providers.amazon.aws.utils.mixins.AwsBaseHookMixin.hook", hook)
    storage.client.create_bucket(Bucket="bucket")
    rows = {
        name: [
            f"{number},{'nan' if (name, number) == ('algo-1-00000', BAD) else shard}"
            for number in range(count)
        ]
        for shard, (name, count) in enumerate(
            {"algo-1-00000": 100, "algo-1-00001": 7, "algo-1-00002": 1}.items()
        )
    }
    spec = prepare(server, storage, rows)
    deadline = time.monotonic() + 500
    while not (job := ensure_job(hook, spec, continuation=BadRecordContinuation())).has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (job.attempt, job.status) == (4, "Failed")
    sensor = TransformJobSensor(
        task_id="t", job_name="x", spec=spec.to_dict(), continuation=BadRecordContinuation()
    )
    account = sensor.execute(context_of(sensor))
    assert account["resolution"]["refused"] == 1
    (reject,) = map(
        json.loads,
        storage.read(f"{account['resolution']['rejects']}algo-1-00000.jsonl").decode().splitlines(),
    )
    assert (reject["record"], reject["rule"]) == (BAD + 1, "refused by the model")
    assert "Input X contains NaN." in reject["reason"]
    mended = read_merged_shards(storage, account)
    assert set(mended) == {"algo-1-00000", "algo-1-00002"}, "the single record is answered in company"
    for name in mended:
        good = [row for number, row in enumerate(rows[name]) if (name, number) != ("algo-1-00000", BAD)]
        assert storage.read(mended[name]["records_object"][0]).decode() == "".join(f"{row}\n" for row in good)
        answers = storage.read(mended[name]["predictions_object"][0]).decode().splitlines()
        assert [float(answer) for answer in answers] == [sum(map(float, row.split(","))) for row in good]


def prepare(server: Server, storage: Storage, rows: dict[str, list[str]]) -> JobSpec:
    """What `preprocess` and `plan` wrote, a model, and the transform of it all."""
    shards = []
    for name, lines in rows.items():
        keys = {kind: f"{kind.removesuffix('_key')}/{name}.csv" for kind in ("records_key", "features_key")}
        for key in keys.values():
            storage.write(f"{WROTE.root}{key}", "".join(f"{line}\n" for line in lines))
        shards.append({"name": name, "records": len(lines), "bytes": 0, "columns": ["id", "age"], **keys})
    out = sum(map(len, rows.values()))
    storage.write_json(WROTE.shards, {"records_in": out, "records_out": out, "rejected": 0, "shards": shards})
    config = pipeline({"predictions.format": "csv", "predictions.fields": {"0": "churn"}})
    write_plan(storage, RUN, config, nonce=NONCE)
    storage.write("s3://bucket/model.tar.gz", pack_tar_gz({"code/inference.py": SCRIPT}))
    container = {
        "Image": IMAGE,
        "ModelDataUrl": "s3://bucket/model.tar.gz",
        "Environment": {
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        },
    }
    server.client("sagemaker").create_model(
        ModelName="churn", PrimaryContainer=container, ExecutionRoleArn=ROLE
    )
    return JobSpec(
        kind=TRANSFORM,
        base_name=f"churn-transform-{build_name_token(NONCE)}",
        resume=True,
        request={
            "TransformJobName": "churn-transform",
            "ModelName": "churn",
            "BatchStrategy": "MultiRecord",
            "MaxPayloadInMB": 1,
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": WROTE.features}},
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": f"{RUN}{{job_name}}/predictions/",
                "Accept": "text/csv",
                "AssembleWith": "None",
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    )
