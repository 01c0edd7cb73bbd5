"""The Airflow provider's own operators, sensors, triggers and hook, through a connection with an endpoint.

Where the provider is known to differ from what its users want, the test says so in its name and asserts what it
does: a failure there means that the provider has changed, not the embedded AWS.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerProcessingSensor,
    SageMakerTransformSensor,
)
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.exceptions import TaskDeferred

from tests.integration.local_aws.clients import work
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import REGION
from tests.integration.sagemaker_jobs.builders import context_of

pytestmark = pytest.mark.timeout(1800)  # instances of an account come slowly

CONNECTION = "aws_of_the_provider"


@pytest.fixture(scope="module", autouse=True)
def connection(aws: Aws) -> Iterator[None]:
    """An Airflow connection of type aws; nothing but `endpoint_url` in it says that this is not AWS."""
    extra = {"region_name": REGION}
    stated: dict[str, Any] = {"conn_type": "aws", "extra": extra}
    if aws.endpoint_url:
        extra["endpoint_url"] = aws.endpoint_url
        stated |= {"login": "test", "password": "test"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(stated))
        yield


@pytest.fixture(scope="module")
def hook(connection: None) -> SageMakerHook:
    return SageMakerHook(aws_conn_id=CONNECTION)


def processing(aws: Aws, name: str, *entrypoint: str) -> dict[str, Any]:
    """A processing config as DAGs have it: numbers may be text."""
    cluster = {"InstanceCount": "1", "InstanceType": work.INSTANCE, "VolumeSizeInGB": "10"}
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": "600"},
        "AppSpecification": {"ImageUri": work.IMAGE, "ContainerEntrypoint": list(entrypoint)},
        "RoleArn": aws.role_arn,
    }


def counting(aws: Aws, name: str, prefix: str) -> dict[str, Any]:
    """A processing config that counts what lies below in/ into out/counts.txt."""
    for key, body in work.objects().items():
        aws.put(f"{prefix}in/{key}", body)
    aws.put(f"{prefix}code/count.py", work.COUNT.encode())
    usual = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
    places = {"in": "/opt/ml/processing/input", "code": "/opt/ml/processing/code"}
    goes = {
        "S3Uri": f"{prefix}out/",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    return {
        **processing(aws, name, "python3", "/opt/ml/processing/code/count.py"),
        "ProcessingInputs": [
            {"InputName": folder, "S3Input": {**usual, "S3Uri": f"{prefix}{folder}/", "LocalPath": place}}
            for folder, place in places.items()
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "counts", "S3Output": goes}]},
    }


def transform(aws: Aws, name: str, prefix: str, objects: dict[str, bytes]) -> dict[str, Any]:
    """A config with the model and the transform over it, from in/ to out/."""
    for key, body in objects.items():
        aws.put(f"{prefix}in/{key}", body)
    model_data = aws.put(f"{prefix}model.tar.gz", work.model_archive())
    container = {"Image": work.IMAGE, "ModelDataUrl": model_data, "Environment": work.MODEL_ENVIRONMENT}
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{prefix}in/"}}
    return {
        "Model": {"ModelName": name, "ExecutionRoleArn": aws.role_arn, "PrimaryContainer": container},
        "Transform": {
            "TransformJobName": name,
            "ModelName": name,
            "MaxConcurrentTransforms": "2",
            "MaxPayloadInMB": "1",
            "BatchStrategy": "MultiRecord",
            "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            "TransformOutput": {
                "S3OutputPath": f"{prefix}out/",
                "Accept": "text/csv",
                "AssembleWith": "Line",
            },
            "TransformResources": {"InstanceType": work.INSTANCE, "InstanceCount": "1"},
        },
    }


def run(task: Any) -> Any:
    """Run a stock task as Airflow does: execute, and if it defers its trigger to the event, and resume."""
    context = context_of(task)
    try:
        return task.execute(context)
    except TaskDeferred as deferred:
        return getattr(task, deferred.method_name)(context, event_of(deferred.trigger))


def event_of(trigger: Any) -> dict[str, Any]:
    """The payload of the trigger's only event."""

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger fired nothing")

    return asyncio.run(first())


def event_about(kind: str, name: str) -> dict[str, Any]:
    """What the stock trigger tells of a job that has ended."""
    return event_of(SageMakerTrigger(job_name=name, job_type=kind, waiter_delay=1, aws_conn_id=CONNECTION))


def operator(kind: type, config: dict[str, Any], **arguments: Any) -> Any:
    """A stock operator on a copy of the config, for it changes what it is given."""
    usual = {"task_id": "job", "aws_conn_id": CONNECTION, "check_interval": 1, "max_attempts": 1200}
    return kind(config=copy.deepcopy(config), **usual, **arguments)


def sensor(kind: type, name: str) -> Any:
    return kind(task_id="sensor", job_name=name, aws_conn_id=CONNECTION)


def poke_until(sensing: Any, deadline: float) -> None:
    """Poke as Airflow does, until the sensor passes or raises."""
    while not sensing.poke({}):
        assert time.monotonic() < deadline, f"{sensing.job_name} has not ended"
        time.sleep(0.2)


def ended(aws: Aws, describe: Any, name: str) -> str:
    """Wait for the job's end; returns its status."""
    deadline = time.monotonic() + work.get_timeout_seconds(aws)
    while True:
        described = describe(name)
        status = described.get("TransformJobStatus") or described.get("ProcessingJobStatus")
        if status in ("Completed", "Failed", "Stopped"):
            return str(status)
        assert time.monotonic() < deadline, described
        time.sleep(0.2)


@pytest.mark.parametrize("deferrable", [False, True])
def test_processing_operator_runs_a_job_to_its_end(
    aws: Aws, s3_prefix: str, name: str, deferrable: bool
) -> None:
    """It waits itself or in its trigger, returns the description, and the sensor agrees."""
    config = counting(aws, name, s3_prefix)
    result = run(operator(SageMakerProcessingOperator, config, deferrable=deferrable))
    assert result["Processing"]["ProcessingJobName"] == name
    assert result["Processing"]["ProcessingJobStatus"] == "Completed"
    assert work.outputs(aws, f"{s3_prefix}out/") == {"counts.txt": work.COUNTS}
    assert sensor(SageMakerProcessingSensor, name).poke({}) is True


def test_transform_operator_makes_model_and_job_and_evades_names_in_use(
    aws: Aws, s3_prefix: str, name: str, hook: SageMakerHook
) -> None:
    """Deferred, then once more with the same names while waiting itself: both get a suffix, none is lost."""
    config = transform(aws, name, s3_prefix, work.objects())
    first = run(operator(SageMakerTransformOperator, config, deferrable=True))
    assert first["Transform"]["TransformJobStatus"] == "Completed"
    assert first["Model"]["ModelName"] == name
    assert work.outputs(aws, f"{s3_prefix}out/") == work.expected_outputs()
    assert sum(body.count(b"\n") for body in work.outputs(aws, f"{s3_prefix}out/").values()) == 501

    config["Transform"]["TransformOutput"]["S3OutputPath"] = f"{s3_prefix}again/"
    second = run(operator(SageMakerTransformOperator, config))
    again, model = second["Transform"]["TransformJobName"], second["Model"]["ModelName"]
    assert again.startswith(f"{name}-")
    assert model.startswith(f"{name}-")
    assert second["Transform"]["ModelName"] == model
    assert work.outputs(aws, f"{s3_prefix}again/") == work.expected_outputs()
    assert sensor(SageMakerTransformSensor, again).poke({}) is True

    listed = hook.list_transform_jobs(name_contains=name, StatusEquals="Completed")
    assert {job["TransformJobName"] for job in listed} == {name, again}
    for each in (name, model):
        hook.delete_model(each)


def test_a_failed_transform_is_told_with_its_reason(aws: Aws, s3_prefix: str, name: str) -> None:
    """At its failure the transform sensor and its trigger have AWS's reason, and no output is left."""
    config = transform(aws, name, s3_prefix, {"a.csv": b"1\nbad\n"})
    started = run(operator(SageMakerTransformOperator, config, wait_for_completion=False))
    assert started["Transform"]["TransformJobStatus"] == "InProgress"
    sensing = sensor(SageMakerTransformSensor, name)
    with pytest.raises(AirflowException, match="failed for the following reason: AlgorithmError: "):
        poke_until(sensing, time.monotonic() + work.get_timeout_seconds(aws))
    event = event_about("transform", name)
    assert event["status"] == "failed"
    assert event["message"].startswith("AlgorithmError: ")
    assert work.outputs(aws, f"{s3_prefix}out/") == {}
    aws.client("sagemaker").delete_model(ModelName=name)


def test_known_stock_behaviour_processing_sensor_hides_the_reason(
    aws: Aws, name: str, hook: SageMakerHook
) -> None:
    """Provider 9.39: "Unknown" for every failure; its operator and its trigger have the reason."""
    config = processing(aws, name, "python3", "-c", "raise SystemExit(3)")
    with pytest.raises(AirflowException, match="SageMaker resource failed because AlgorithmError: "):
        run(operator(SageMakerProcessingOperator, config))
    with pytest.raises(AirflowException, match="failed for the following reason: Unknown"):
        sensor(SageMakerProcessingSensor, name).poke({})
    event = event_about("processing", name)
    assert (event["status"], event["message"][:16]) == ("failed", "AlgorithmError: ")
    assert hook.count_processing_jobs_by_name(name) == 1


def test_known_stock_behaviour_transform_sensor_and_waiting_operator_pass_a_stopped_job(
    aws: Aws, s3_prefix: str, name: str, hook: SageMakerHook
) -> None:
    """Provider 9.39 takes Stopped for success there; its trigger does not."""
    config = transform(aws, name, s3_prefix, {"a.csv": b"slow\n"})
    run(operator(SageMakerTransformOperator, config, wait_for_completion=False))
    aws.client("sagemaker").stop_transform_job(TransformJobName=name)
    assert ended(aws, hook.describe_transform_job, name) == "Stopped"
    assert sensor(SageMakerTransformSensor, name).poke({}) is True
    waited = hook.check_status(name, "TransformJobStatus", hook.describe_transform_job, 1)
    assert waited["TransformJobStatus"] == "Stopped"
    assert event_about("transform", name)["status"] == "stopped"
    hook.delete_model(name)


def test_known_stock_behaviour_processing_wait_passes_a_stopped_job_and_its_sensor_does_not(
    aws: Aws, name: str, hook: SageMakerHook
) -> None:
    """Provider 9.39: the operator's own wait takes Stopped for success, sensor and trigger for failure."""
    config = processing(aws, name, "sleep", "600")
    run(operator(SageMakerProcessingOperator, config, wait_for_completion=False))
    assert sensor(SageMakerProcessingSensor, name).poke({}) is False
    aws.client("sagemaker").stop_processing_job(ProcessingJobName=name)
    assert ended(aws, hook.describe_processing_job, name) == "Stopped"
    waited = hook.check_status(name, "ProcessingJobStatus", hook.describe_processing_job, 1)
    assert waited["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(AirflowException, match="failed for the following reason: Unknown"):
        sensor(SageMakerProcessingSensor, name).poke({})
    assert event_about("processing", name)["status"] == "stopped"
