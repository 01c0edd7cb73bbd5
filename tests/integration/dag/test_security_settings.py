"""Jobs with keys, a VPC and isolation are taken by AWS, and found again as what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_inference.aws.model_registry import resolve_model
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.common.errors import ModelError
from batch_inference.config.run_params import RunParams
from sagemaker_jobs.job.compare import find_differences
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from tests.integration.local_aws.servers import run_server
from tests.unit.builders import pipeline
from tests.unit.config.test_security import ALL, requests_of


def test_every_field_is_taken_and_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a retry adopts the job: nothing that was sent is missing from what Describe says.

    And a pipeline that names this model finds it shut in as it asks, or says that it is not.
    """
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"
    model = {"containers": [{"image": image}, {"image": image}]}
    made = requests_of(pipeline({**ALL, "model": model, "preprocess.image": image}))
    with run_server(tmp_path / "aws") as server:
        client: Any = server.client("sagemaker")
        s3 = server.client("s3")
        s3.create_bucket(Bucket="data")
        s3.put_object(Bucket="data", Key="work/churn/r1/churn-preprocess-1/features/part-0.csv", Body=b"1\n")
        client.create_model(**made["CreateModel"])
        client.create_processing_job(**made["CreateProcessingJob"])
        client.create_transform_job(**made["CreateTransformJob"])
        described = {
            "CreateModel": client.describe_model(ModelName="churn-model-1"),
            "CreateProcessingJob": client.describe_processing_job(ProcessingJobName="churn-preprocess-1"),
            "CreateTransformJob": client.describe_transform_job(TransformJobName="churn-transform-1"),
        }
        for kind, name in ((PROCESSING, "churn-preprocess-1"), (TRANSFORM, "churn-transform-1")):
            if described[f"Create{kind.name}Job"][kind.status_field] == "InProgress":
                getattr(client, kind.stop_method)(**{kind.name_field: name})
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(server.url))
        theirs = {"model": {"name": "churn-model-1"}, "security": ALL["security"]}
        assert resolve_model(pipeline(theirs), RunParams()).name == "churn-model-1"
        with pytest.raises(ModelError, match="VpcConfig is"):
            resolve_model(pipeline({**theirs, "security.vpc.subnets": ["subnet-9999ffff"]}), RunParams())
    for operation, request in made.items():
        wanted = {name: value for name, value in request.items() if name != "Tags"}
        assert find_differences(wanted, described[operation]) == []
