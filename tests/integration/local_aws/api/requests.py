"""Requests that tests of the control plane start from, and how they wait for an end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::123456789012:role/service-role/batch-inference"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1"
TERMINAL = ("Completed", "Failed", "Stopped")


def model_request(name: str, **changes: Any) -> dict[str, Any]:
    """CreateModel with one container."""
    request = {"ModelName": name, "PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": ROLE}
    return {**request, **changes}


def version_request(group: str, **changes: Any) -> dict[str, Any]:
    """CreateModelPackage of a version of `group`, with one container."""
    specification = {"Containers": [{"Image": IMAGE}], "SupportedContentTypes": ["text/csv"]}
    return {"ModelPackageGroupName": group, "InferenceSpecification": specification, **changes}


def transform_request(name: str, model: str, uri: str, **changes: Any) -> dict[str, Any]:
    """CreateTransformJob over the prefix `uri`, on one instance."""
    request = {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}},
        "TransformOutput": {"S3OutputPath": f"{uri}-out"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    }
    return {**request, **changes}


def processing_request(name: str, **changes: Any) -> dict[str, Any]:
    """CreateProcessingJob without inputs and outputs, on one instance."""
    cluster = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    request = {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
    }
    return {**request, **changes}


def wait_until_ended(describe: Any, seconds: float = 30, **name: str) -> dict[str, Any]:
    """Describe until the job has ended; returns the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = describe(**name)
        status = answer.get("TransformJobStatus") or answer.get("ProcessingJobStatus")
        if status in TERMINAL:
            return answer
        assert time.monotonic() < deadline, f"{name} is still {status} after {seconds} s"
        time.sleep(0.05)


def wait_until_started(describe: Any, seconds: float = 30, **name: str) -> dict[str, Any]:
    """Describe until the job has started; returns the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = describe(**name)
        if "TransformStartTime" in answer or "ProcessingStartTime" in answer:
            return answer
        assert time.monotonic() < deadline, f"{name} has not started after {seconds} s"
        time.sleep(0.02)


def wait_until_empty(directory: Path, pattern: str = "*", seconds: float = 10) -> bool:
    """Whether nothing below `directory` fits the pattern, or soon nothing does."""
    deadline = time.monotonic() + seconds
    while any(directory.glob(pattern)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def expect_client_error(code: str) -> Iterator[list[str]]:
    """Expect a ClientError of this code; the list yielded holds its message afterwards."""
    messages: list[str] = []
    with pytest.raises(ClientError) as caught:
        yield messages
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    messages.append(error["Message"])
