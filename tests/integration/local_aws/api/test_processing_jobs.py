"""Create, describe and stop processing jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.api.requests import (
    expect_client_error,
    processing_request,
    wait_until_ended,
    wait_until_started,
)

pytestmark = pytest.mark.local_only


def _input(name: str = "data", **changes: Any) -> dict[str, Any]:
    source = {
        "S3Uri": "s3://bucket/in/",
        "LocalPath": "/opt/ml/processing/input/data",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    return {"InputName": name, "S3Input": {**source, **changes}}


def _output(name: str = "out", **changes: Any) -> dict[str, Any]:
    target = {
        "S3Uri": "s3://bucket/out/",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    return {"OutputName": name, "S3Output": {**target, **changes}}


def test_describe_echoes_the_request_and_the_default_runtime(sagemaker: Any, name: str) -> None:
    """MaxRuntimeInSeconds is a day unless sent; ExitMessage comes with the end."""
    request = processing_request(
        name,
        ProcessingInputs=[_input()],
        ProcessingOutputConfig={"Outputs": [_output()]},
        Environment={"MESSAGE": "all good"},
        NetworkConfig={"EnableNetworkIsolation": True},
    )
    created = sagemaker.create_processing_job(**request)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert {key: last[key] for key in request} == request
    assert last["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert (last["ProcessingJobStatus"], last["ExitMessage"]) == ("Completed", "all good")
    assert last["ProcessingJobArn"] == created["ProcessingJobArn"]
    assert (
        last["CreationTime"]
        <= last["ProcessingStartTime"]
        <= last["ProcessingEndTime"]
        <= last["LastModifiedTime"]
    )


def test_stop_ends_a_processing_job_as_stopped(sagemaker: Any, name: str) -> None:
    """And a second Stop names the status it is in."""
    sagemaker.create_processing_job(**processing_request(name, Environment={"SECONDS": "60"}))
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    sagemaker.stop_processing_job(ProcessingJobName=name)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Stopped"
    with expect_client_error("ValidationException") as message:
        sagemaker.stop_processing_job(ProcessingJobName=name)
    assert message == ["The request was rejected because the processing job is in status Stopped"]


@pytest.mark.parametrize("missing", ["LocalPath", "S3InputMode"])
def test_an_input_without_a_managed_field_is_refused_in_awss_words(
    sagemaker: Any, name: str, missing: str
) -> None:
    """LocalPath and S3InputMode are optional in the model, required by the service."""
    source = _input()
    del source["S3Input"][missing]
    with expect_client_error("ValidationException") as message:
        sagemaker.create_processing_job(**processing_request(name, ProcessingInputs=[source]))
    assert message[0] == (
        "Input data missing one or more required fields for SageMaker-managed S3Input: "
        '"LocalPath", "S3DownloadMode", "S3InputMode"'
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ProcessingInputs": [_input(LocalPath="/tmp/x")]}, "LocalPath is '/tmp/x'"),
        ({"ProcessingInputs": [_input(LocalPath="/opt/ml/processing/../x")]}, "it must be a folder below"),
        ({"ProcessingInputs": [_input(), _input()]}, "InputName must be unique"),
        (
            {"ProcessingInputs": [_input(S3CompressionType="Gzip")]},
            "Gzip requires S3InputMode Pipe",
        ),
        ({"ProcessingInputs": [{"InputName": "x"}]}, "Input x has no S3Input"),
        ({"ProcessingInputs": [{**_input(), "AppManaged": True}]}, "AppManaged is not implemented"),
        ({"ProcessingOutputConfig": {"Outputs": [_output(), _output()]}}, "OutputName must be unique"),
        ({"ProcessingOutputConfig": {"Outputs": [{"OutputName": "x"}]}}, "Output x has no S3Output"),
        (
            {
                "ProcessingInputs": [_input()],
                "ProcessingOutputConfig": {"Outputs": [_output(S3Uri="s3://bucket/in")]},
            },
            "Output out and input data have the same S3Uri s3://bucket/in",
        ),
        (
            {
                "ProcessingInputs": [
                    {"InputName": "q", "DatasetDefinition": {"LocalPath": "/opt/ml/processing/q"}}
                ]
            },
            "'ProcessingInputs.DatasetDefinition.LocalPath' is not implemented by the embedded AWS",
        ),
        (
            {"ExperimentConfig": {"ExperimentName": "e"}},
            "'ExperimentConfig.ExperimentName' is not implemented",
        ),
    ],
)
def test_inputs_and_outputs_that_cannot_be_are_refused_by_name(
    sagemaker: Any, name: str, changes: dict[str, Any], said: str
) -> None:
    """At once, and no job comes to be."""
    with expect_client_error("ValidationException") as message:
        sagemaker.create_processing_job(**processing_request(name, **changes))
    assert said in message[0]
    with expect_client_error("ValidationException"):
        sagemaker.describe_processing_job(ProcessingJobName=name)


def test_either_an_instance_type_or_preferences(sagemaker: Any, name: str) -> None:
    """Both, or neither, is refused."""
    both = {
        "InstanceType": "ml.m5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 1,
        "InstancePreferences": [{"InstanceType": "ml.m5.large"}],
    }
    for cluster, found in ((both, "both"), ({"InstanceCount": 1, "VolumeSizeInGB": 1}, "neither")):
        with expect_client_error("ValidationException") as message:
            sagemaker.create_processing_job(
                **processing_request(name, ProcessingResources={"ClusterConfig": cluster})
            )
        assert message == [f"Give either InstanceType or InstancePreferences in ClusterConfig, found {found}"]


def test_the_first_preference_that_is_there_is_selected(sagemaker: Any, name: str, tmp_path: Path) -> None:
    """The runner is told the cluster that was had; Describe shows it as selected."""
    path = tmp_path / "spec.json"
    preferences = [{"InstanceType": "ml.m5.4xlarge", "InstanceCount": 2}, {"InstanceType": "ml.m5.large"}]
    cluster = {"InstanceCount": 1, "VolumeSizeInGB": 1, "InstancePreferences": preferences}
    request = processing_request(
        name, ProcessingResources={"ClusterConfig": cluster}, Environment={"SPEC": str(path)}
    )
    sagemaker.create_processing_job(**request)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    selected = {"SelectedInstanceType": "ml.m5.4xlarge", "SelectedInstanceCount": 2}
    assert last["ProcessingResources"]["ClusterConfig"] == {**cluster, **selected}
    told = json.loads(path.read_text())["request"]["ProcessingResources"]["ClusterConfig"]
    assert told == {**cluster, **selected, "InstanceType": "ml.m5.4xlarge", "InstanceCount": 2}
