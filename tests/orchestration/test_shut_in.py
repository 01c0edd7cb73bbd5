"""Jobs with keys, a VPC and isolation are taken by AWS, and found again as what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from sagemaker_jobs.matching import differences
from tests.scoring.builders import pipeline
from tests.scoring.test_security import ALL, requests_of
from tools.laptop import CREDENTIALS, REGION, embedded_aws, s3_client


def test_every_field_is_taken_and_described(tmp_path: Path) -> None:
    """So that a retry adopts the job: nothing that was sent is missing from what Describe says."""
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"
    model = {"containers": [{"image": image}, {"image": image}]}
    made = requests_of(pipeline({**ALL, "model": model, "preprocess.image": image}))
    with embedded_aws(tmp_path / "aws") as endpoint:
        session = boto3.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        client: Any = session.client("sagemaker", endpoint_url=endpoint)
        s3 = s3_client(endpoint)
        s3.create_bucket(Bucket="data")
        s3.put_object(Bucket="data", Key="work/churn/run/p/features/part-0.csv", Body=b"1\n")
        client.create_model(**made["CreateModel"])
        client.create_processing_job(**made["CreateProcessingJob"])
        client.create_transform_job(**made["CreateTransformJob"])
        described = {
            "CreateModel": client.describe_model(ModelName="model-1"),
            "CreateProcessingJob": client.describe_processing_job(ProcessingJobName="preprocess-1"),
            "CreateTransformJob": client.describe_transform_job(TransformJobName="transform-1"),
        }
        for kind, name in ((PROCESSING, "preprocess-1"), (TRANSFORM, "transform-1")):
            if described[f"Create{kind.name}Job"][kind.status_field] == "InProgress":
                getattr(client, kind.stop)(**{kind.name_field: name})
    for operation, request in made.items():
        wanted = {name: value for name, value in request.items() if name != "Tags"}
        assert differences(wanted, described[operation]) == []
