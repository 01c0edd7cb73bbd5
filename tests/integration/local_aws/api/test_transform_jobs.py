"""Create, describe and stop transform jobs: states, times, echo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.api.requests import expect_client_error, wait_until_ended, wait_until_started
from tests.integration.local_aws.conftest import Aws

pytestmark = pytest.mark.local_only


def test_a_job_is_in_progress_without_an_end_time_while_it_runs(
    sagemaker: Any, transform: dict[str, Any]
) -> None:
    """From the beginning, and once it has started."""
    sagemaker.create_transform_job(**transform, Environment={"SECONDS": "600"})
    job = {"TransformJobName": transform["TransformJobName"]}
    for answer in (
        sagemaker.describe_transform_job(**job),
        wait_until_started(sagemaker.describe_transform_job, **job),
    ):
        assert answer["TransformJobStatus"] == "InProgress"
        assert "TransformEndTime" not in answer
    sagemaker.stop_transform_job(**job)
    wait_until_ended(sagemaker.describe_transform_job, **job)


def test_a_completed_job_has_the_runners_times_in_order(
    aws: Aws, sagemaker: Any, transform: dict[str, Any]
) -> None:
    """And no FailureReason."""
    created = sagemaker.create_transform_job(**transform, Environment={"SECONDS": "0.5"})
    last = wait_until_ended(sagemaker.describe_transform_job, TransformJobName=transform["TransformJobName"])
    assert last["TransformJobStatus"] == "Completed"
    assert last["CreationTime"] <= last["TransformStartTime"] < last["TransformEndTime"]
    assert aws.server is not None
    (usage,) = aws.server.local("GET", f"usage?name_contains={transform['TransformJobName']}")["jobs"]
    (host,) = usage["instances"]
    for told, ran in (("TransformStartTime", "started"), ("TransformEndTime", "ended")):
        assert last[told].timestamp() == pytest.approx(host[ran], abs=0.002)
    assert (last["TransformEndTime"] - last["TransformStartTime"]).total_seconds() >= 0.499
    assert last["TransformJobArn"] == created["TransformJobArn"]
    assert "FailureReason" not in last


def test_the_arn_is_lower_case_and_the_name_is_kept(sagemaker: Any, transform: dict[str, Any]) -> None:
    """As recorded answers of AWS show."""
    name = transform["TransformJobName"].upper()
    created = sagemaker.create_transform_job(**{**transform, "TransformJobName": name})
    assert created["TransformJobArn"].endswith(f":transform-job/{name.lower()}")
    assert sagemaker.describe_transform_job(TransformJobName=name)["TransformJobName"] == name


def test_describe_fills_in_what_aws_fills_in_and_nothing_else(
    sagemaker: Any, transform: dict[str, Any]
) -> None:
    """MaxConcurrentTransforms, MaxPayloadInMB, BatchStrategy and Environment stay absent when not sent."""
    sagemaker.create_transform_job(**transform)
    answer = sagemaker.describe_transform_job(TransformJobName=transform["TransformJobName"])
    assert answer["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert answer["TransformInput"] == {
        **transform["TransformInput"],
        "CompressionType": "None",
        "SplitType": "None",
    }
    assert answer["TransformOutput"] == {
        **transform["TransformOutput"],
        "AssembleWith": "None",
        "KmsKeyId": "",
    }
    absent = {
        "MaxConcurrentTransforms",
        "MaxPayloadInMB",
        "BatchStrategy",
        "Environment",
        "FailureReason",
        "Tags",
    }
    assert absent & set(answer) == set()


def test_describe_echoes_every_member_that_was_sent(sagemaker: Any, transform: dict[str, Any]) -> None:
    """Nothing is lost between Create and Describe."""
    sent = {
        **transform,
        "MaxConcurrentTransforms": 4,
        "MaxPayloadInMB": 6,
        "BatchStrategy": "MultiRecord",
        "Environment": {"A": "b"},
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 0},
        "TransformInput": {
            **transform["TransformInput"],
            "ContentType": "text/csv",
            "SplitType": "Line",
            "CompressionType": "Gzip",
        },
        "TransformOutput": {
            **transform["TransformOutput"],
            "Accept": "text/csv",
            "AssembleWith": "Line",
            "KmsKeyId": "k",
        },
        "DataProcessing": {"InputFilter": "$[1:]", "OutputFilter": "$[0,-1]", "JoinSource": "Input"},
        "DataCaptureConfig": {"DestinationS3Uri": "s3://b/c", "GenerateInferenceId": True},
    }
    sagemaker.create_transform_job(**sent)
    answer = sagemaker.describe_transform_job(TransformJobName=transform["TransformJobName"])
    assert {name: answer[name] for name in sent} == sent


def test_stop_makes_a_job_stopping_at_once_and_stopped_later(
    sagemaker: Any, transform: dict[str, Any]
) -> None:
    """The answer is empty; a second Stop while Stopping is accepted; after the end it is refused."""
    job = {"TransformJobName": transform["TransformJobName"]}
    sagemaker.create_transform_job(**transform, Environment={"SECONDS": "60", "DEAF": "1"})
    wait_until_started(sagemaker.describe_transform_job, **job)
    stopped = sagemaker.stop_transform_job(**job)
    assert set(stopped) == {"ResponseMetadata"}
    assert sagemaker.describe_transform_job(**job)["TransformJobStatus"] == "Stopping"
    sagemaker.stop_transform_job(**job)


def test_a_stopped_job_has_no_failure_reason(sagemaker: Any, transform: dict[str, Any]) -> None:
    """Stopped within the runner's grace."""
    job = {"TransformJobName": transform["TransformJobName"]}
    sagemaker.create_transform_job(**transform, Environment={"SECONDS": "60"})
    wait_until_started(sagemaker.describe_transform_job, **job)
    sagemaker.stop_transform_job(**job)
    last = wait_until_ended(sagemaker.describe_transform_job, **job)
    assert last["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in last
    with expect_client_error("ValidationException") as message:
        sagemaker.stop_transform_job(**job)
    assert message == ["The request was rejected because the transform job is in status Stopped"]


def test_a_failed_job_says_why(sagemaker: Any, transform: dict[str, Any]) -> None:
    """FailureReason is the runner's."""
    reason = "AlgorithmError: See job logs for more information"
    sagemaker.create_transform_job(**transform, Environment={"STATUS": "Failed", "REASON": reason})
    last = wait_until_ended(sagemaker.describe_transform_job, TransformJobName=transform["TransformJobName"])
    assert (last["TransformJobStatus"], last["FailureReason"]) == ("Failed", reason)


def test_a_runner_that_dies_is_an_internal_server_error(sagemaker: Any, transform: dict[str, Any]) -> None:
    """AWS's text, two spaces included; lines that are no events are passed over."""
    sagemaker.create_transform_job(**transform, Environment={"DIE": "1", "SAY": "not an event"})
    last = wait_until_ended(sagemaker.describe_transform_job, TransformJobName=transform["TransformJobName"])
    assert last["TransformJobStatus"] == "Failed"
    assert (
        last["FailureReason"] == "InternalServerError: We encountered an internal error.  Please try again."
    )


def test_the_runner_is_given_the_model_as_it_was_when_the_job_was_created(
    aws: Aws, sagemaker: Any, transform: dict[str, Any], tmp_path: Path
) -> None:
    """SPEC.json holds the request as sent, containers and endpoints, and its work directory is gone afterwards."""
    path = tmp_path / "spec.json"
    request = {**transform, "Environment": {"SPEC": str(path)}}
    created = sagemaker.create_transform_job(**request)
    wait_until_ended(sagemaker.describe_transform_job, TransformJobName=transform["TransformJobName"])
    spec = json.loads(path.read_text())
    model = sagemaker.describe_model(ModelName=transform["ModelName"])
    assert spec["request"] == request
    assert spec["containers"] == [model["PrimaryContainer"]]
    assert (spec["kind"], spec["name"], spec["arn"]) == (
        "transform",
        transform["TransformJobName"],
        created["TransformJobArn"],
    )
    assert spec["s3_endpoint_url"] == spec["logs_endpoint_url"] == aws.endpoint_url
    assert (spec["network_isolation"], spec["faults"], spec["images_file"]) == (False, [], None)
    assert not Path(spec["work_dir"]).exists()
