"""What is wrong in AWS or in the input ends the run in `plan`: the embedded AWS has no job and no model afterwards."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.cli.laptop.environment import build_aws_connection, create_client
from batch_inference.cli.laptop.sample import create_buckets_and_role
from batch_inference.common.errors import BatchInferenceError, ModelError, SetupError
from batch_inference.config import pipeline_files
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.tasks import plan
from batch_inference.run import task_ids
from local_aws.server import LocalAws
from local_aws.settings import load_settings
from tests.integration.staged_runs import Pipelines, Run, document
from tests.unit.jobs.hostile_inputs import SETUPS, escape_cell

GOOD = b"1,m,30\n2,f,40\n"
INPUT = "s3://bucket/in/date=2026-01-05/"
NO_TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    },
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded AWS with what the pipeline needs."""
    folder = tmp_path_factory.mktemp("aws")
    server = LocalAws(load_settings(overrides_by_dotted_name={"provisioning_seconds": 0}), folder)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_TEST", build_aws_connection(server.url))
        client = create_client("s3", server.url)
        create_buckets_and_role(client, Pipeline.model_validate(document()))
        place = {"LocationConstraint": "eu-west-1"}
        client.create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
        client.put_object(Bucket="bucket", Key="model/a.tar.gz", Body=b"an archive")
        iam = create_client("iam", server.url)
        iam.create_role(RoleName="of-lambda", AssumeRolePolicyDocument=json.dumps(NO_TRUST))
        try:
            yield server.url
        finally:
            server.stop()


Planning = Callable[..., Run]


@pytest.fixture
def planning(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planning]:
    """Runs `plan` of a pipeline with these changes over one object; no job is there before and afterwards."""
    monkeypatch.setattr(pipeline_files, "_FOLDERS", defaultdict(lambda: tmp_path))
    pipelines = Pipelines(Storage("aws_test"), tmp_path)
    sagemaker = create_client("sagemaker", endpoint)

    def make(data: bytes = GOOD, **changes: Any) -> Run:
        made = document()
        for path, value in changes.items():
            *parents, last = path.split("__")
            at = made
            for parent in parents:
                at = at[parent]
            at[last] = value
        pipelines.write(made)
        pipelines.storage.client.put_object(Bucket="bucket", Key="in/date=2026-01-05/a.csv", Body=data)
        run = pipelines.run("run", 5, len)
        run.task(task_ids.PLAN, plan.plan_run)
        return run

    yield make
    assert sagemaker.list_processing_jobs()["ProcessingJobSummaries"] == []
    assert sagemaker.list_transform_jobs()["TransformJobSummaries"] == []
    assert sagemaker.list_models()["Models"] == []


ARCHIVE = "s3://bucket/model/absent.tar.gz"
ROLE = "arn:aws:iam::123456789012:role/"
CONTAINERS = {"containers": [{**document()["model"]["containers"][0], "model_data": ARCHIVE}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": CONTAINERS},
            f"model: found no object at {ARCHIVE}.*`batch-inference model PIPELINE MODEL_FILE`",
        ),
        ({"model": {"name": "no-such"}}, "model.name: found 'no-such', which SageMaker does not have"),
        ({"role": f"{ROLE}nobody"}, f"role: {ROLE}nobody does not exist in the account"),
        ({"role": f"{ROLE}other/scoring"}, "IAM's role of that name is .*role/scoring; write that ARN"),
        ({"role": f"{ROLE}of-lambda"}, "does not let sagemaker.amazonaws.com assume it"),
        ({"output__uri": "s3://absent/out/"}, "output.uri: found the bucket absent, which does not exist"),
        ({"work": "s3://absent/work"}, "work: found the bucket absent, which does not exist"),
        ({"work": "s3://elsewhere/work"}, "work: found the bucket elsewhere in eu-west-1.*region: eu-west-1"),
        ({"preprocess__wheels": "s3://bucket/wheels/"}, "preprocess.wheels: found nothing below"),
        ({"preprocess__wheels": "s3://bucket/model/"}, "found no wheel below"),
        ({"data": b"1;m;30\n2;f;40\n"}, "all 2 sampled records.*set input.delimiter to ';'"),
        ({"data": b"id,sex,age\n1,m,30\n"}, "input.header is false; set input.header to true"),
        ({"input__header": True}, "the header has unknown column '1', 'm', '30'"),
        ({"data": b"id,sex,years\n1,m,30\n", "input__header": True}, "unknown column 'years'"),
        ({"data": b"1,m\n2,f\n"}, r"all 2 sampled.*'arity' \(record 1: 2 fields"),
        ({"data": b'{"id": "1", "age": 3}\n'}, "set input.format to jsonlines"),
        ({"input__format": "parquet"}, "is not a Parquet file"),
        ({"data": gzip.compress(GOOD, mtime=0)}, "gzip data; set input.compression to gzip"),
        ({"data": GOOD.decode().encode("utf-16")}, "written in utf-16, not utf-8"),
    ],
)
def test_a_wrong_setup_ends_in_plan_with_what_to_do(
    planning: Planning, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BatchInferenceError, match=f"(?s){said}") as caught:
        planning(**changes)
    if isinstance(caught.value, SetupError | ModelError) and "data" not in changes:
        assert escape_cell(str(caught.value)) in {message for _, message in SETUPS}


def test_all_that_is_wrong_is_said_at_once(planning: Planning) -> None:
    with pytest.raises(SetupError) as caught:
        planning(b"1;m;30\n", role=f"{ROLE}nobody", model=CONTAINERS)
    assert len(caught.value.problems) == 3
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {"model", "role", "input"}


def test_what_was_looked_at_is_in_the_plan(planning: Planning) -> None:
    """And rows that another region's bucket gets are a sentence only."""
    made = planning(output__uri="s3://elsewhere/out/").xcoms[task_ids.PLAN, "return_value"]
    sentences = [entry["text"] for entry in made["log"]]
    assert "Of 2 sampled records in 1 object, none would be rejected." in sentences
    assert any(
        sentence.startswith("output.uri: found the bucket elsewhere in eu-west-1") for sentence in sentences
    )
