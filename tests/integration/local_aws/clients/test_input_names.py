"""Names that objects of an input get, for the prefixes that consoles and SDKs make."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.local_aws.clients import work
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.timeout(1800)  # instances of an account come slowly

TREE = """
import pathlib
top = pathlib.Path("/opt/ml/processing/input")
names = sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())
pathlib.Path("/opt/ml/output/message").write_text(" ".join(names))
"""


def processed_names(aws: Aws, name: str, uri: str) -> str:
    """File names in LocalPath of a processing job, given this S3Uri."""
    script = aws.put(f"{aws.prefix()}tree.py", TREE.encode())
    usual = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
    sagemaker = aws.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=aws.role_arn,
        AppSpecification={
            "ImageUri": work.IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/tree.py"],
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": work.INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 10}
        },
        ProcessingInputs=[
            {
                "InputName": "in",
                "S3Input": {**usual, "S3Uri": uri, "LocalPath": "/opt/ml/processing/input"},
            },
            {
                "InputName": "code",
                "S3Input": {**usual, "S3Uri": script, "LocalPath": "/opt/ml/processing/code"},
            },
        ],
    )
    described = finished(aws, sagemaker.describe_processing_job, ProcessingJobName=name)
    assert described["ProcessingJobStatus"] == "Completed", described
    return str(described["ExitMessage"])


def finished(aws: Aws, describe: Any, **name: str) -> dict[str, Any]:
    """The last answer about a job, when it has ended."""
    deadline = time.monotonic() + work.get_timeout_seconds(aws)
    while True:
        answer: dict[str, Any] = describe(**name)
        status = answer.get("ProcessingJobStatus") or answer.get("TransformJobStatus")
        if status in ("Completed", "Failed", "Stopped"):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.2 if aws.endpoint_url else 10)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_processing_input_is_a_folder_with_and_without_a_slash(
    aws: Aws, s3_prefix: str, name: str, end: str
) -> None:
    """As AWS's pipelines rely on it, which hand `s3://…/output/test` on; the console's folder key is no file."""
    for key in ("in/", "in/a.csv", "in/b/c.csv"):
        aws.put(f"{s3_prefix}{key}", b"" if key.endswith("/") else b"1\n")
    assert processed_names(aws, name, f"{s3_prefix}in{end}") == "a.csv b/c.csv"


def test_a_folder_key_is_no_input_of_a_transform(aws: Aws, s3_prefix: str, name: str) -> None:
    """Neither the one that the prefix names nor one below it leaves an output."""
    for key in ("in/", "in/b/", "in/a.csv"):
        aws.put(f"{s3_prefix}{key}", b"" if key.endswith("/") else b"1\n")
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=aws.role_arn,
        PrimaryContainer={
            "Image": work.IMAGE,
            "ModelDataUrl": aws.put(f"{s3_prefix}model.tar.gz", work.model_archive()),
            "Environment": work.MODEL_ENVIRONMENT,
        },
    )
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{s3_prefix}in/"}}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"{s3_prefix}out/", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": work.INSTANCE, "InstanceCount": 1},
    )
    described = finished(aws, sagemaker.describe_transform_job, TransformJobName=name)
    assert described["TransformJobStatus"] == "Completed", described
    assert work.outputs(aws, f"{s3_prefix}out/") == {"a.csv.out": b"2\n"}
    sagemaker.delete_model(ModelName=name)
