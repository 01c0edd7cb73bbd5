"""Operators and sensors against an AWS that really runs the jobs, with faults of its own."""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_jobs.airflow_compat import TaskDeferred
from sagemaker_jobs.errors import JobFailed, JobFailedPermanently, JobRanTooLong, JobStopped, JobTimedOut
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.archives import pack_tar_gz
from tests.integration.local_aws.servers import Server, run_server
from tests.integration.sagemaker_jobs.builders import clean_up, context_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

pytestmark = pytest.mark.local_only

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local/script:1"
ROLE = "arn:aws:iam::123456789012:role/service-role/work"
MODEL = """
def model_fn(model_dir):
    return 2

def predict_fn(rows, model):
    if "bad" in rows:
        raise ValueError("a bad record")
    return "".join(f"{float(line) * model}\\n" for line in rows.split())

def input_fn(body, content_type):
    return body.decode() if isinstance(body, bytes) else body

def output_fn(prediction, accept):
    return prediction
"""


class Embedded:
    """A server, a bucket and a name of the test's own."""

    def __init__(self, server: Server, hook: SageMakerHook) -> None:
        self.server, self.hook = server, hook
        self.s3 = server.client("s3")
        self.sagemaker = server.client("sagemaker")
        self.bucket = f"embedded-{uuid.uuid4().hex[:12]}"
        self.name = f"job-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)

    def put(self, key: str, body: bytes | str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def outputs(self, uri: str) -> dict[str, str]:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): self.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"]
            .read()
            .decode()
            for item in listed
        }

    def fault(self, **fields: Any) -> None:
        answer = self.server.local("POST", "faults", fields)
        assert answer["kind"] == fields["kind"], answer

    def status(self, kind: str, attempt: int | str) -> str:
        describe = getattr(self.sagemaker, f"describe_{kind}_job")
        return str(
            describe(**{f"{kind.title()}JobName": f"{self.name}-{attempt}"})[f"{kind.title()}JobStatus"]
        )

    def wait_for(self, kind: str, attempt: int | str, status: str) -> None:
        give_up = time.monotonic() + 120
        while self.status(kind, attempt) != status:
            assert time.monotonic() < give_up, self.status(kind, attempt)
            time.sleep(0.1)

    def jobs(self, kind: str) -> int:
        listed = getattr(self.sagemaker, f"list_{kind}_jobs")(NameContains=self.name)
        return len(listed[f"{kind.title()}JobSummaries"])

    def processing(self, script: str, **changes: Any) -> dict[str, Any]:
        return {
            "ProcessingJobName": self.name,
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": "1", "InstanceType": "ml.m5.large", "VolumeSizeInGB": "10"}
            },
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", script]},
            "RoleArn": ROLE,
            "StoppingCondition": {"MaxRuntimeInSeconds": "600"},
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "output",
                        "S3Output": {
                            "S3Uri": f"s3://{self.bucket}/{{job_name}}/",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            **changes,
        }

    def transform(self) -> dict[str, Any]:
        self.put("model.tar.gz", pack_tar_gz({"code/inference.py": MODEL}))
        return {
            "Model": {
                "ModelName": self.name,
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "ModelDataUrl": f"s3://{self.bucket}/model.tar.gz",
                    "Environment": {
                        "SAGEMAKER_PROGRAM": "inference.py",
                        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    },
                },
                "ExecutionRoleArn": ROLE,
            },
            "Transform": {
                "TransformJobName": self.name,
                "ModelName": self.name,
                "MaxConcurrentTransforms": "2",
                "MaxPayloadInMB": "1",
                "BatchStrategy": "MultiRecord",
                "TransformInput": {
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.bucket}/features/"}
                    },
                    "ContentType": "text/csv",
                    "SplitType": "Line",
                },
                "TransformOutput": {
                    "S3OutputPath": f"s3://{self.bucket}/{{job_name}}/predictions/",
                    "Accept": "text/csv",
                    "AssembleWith": "None",
                },
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": "2"},
            },
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One embedded AWS for this file, without provisioning delay."""
    settings = {
        "provisioning_seconds": 0,
        "default_instance_quota": 100,
        "instance_quotas": {"ml.m5.large for processing job usage": 4},
        "runner.ping_interval_seconds": 0.1,
        "runner.log_flush_seconds": 0.1,
        "runner.retry_backoff_seconds": 0.05,
        "runner.processing_stop_grace_seconds": 2,
        "runner.transform_stop_grace_seconds": 2,
    }
    with run_server(tmp_path_factory.mktemp("aws") / "data", settings) as started:
        yield started


@pytest.fixture(scope="module")
def embedded_hook(server: Server) -> Iterator[SageMakerHook]:
    """The connection aws_default and a hook on the server."""
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    connection = {
        "conn_type": "aws",
        "login": "x",
        "password": "x",
        "extra": {"region_name": "us-east-1", "endpoint_url": server.url},
    }
    patch = pytest.MonkeyPatch()
    patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    hook = SageMakerHook(aws_conn_id="aws_default")
    hook.get_conn()
    patch.setattr("airflow.providers.amazon.aws.utils.mixins.AwsBaseHookMixin.hook", hook)
    yield hook
    patch.undo()


@pytest.fixture
def embedded(server: Server, embedded_hook: SageMakerHook) -> Embedded:
    """The server with a bucket and a name of this test's own."""
    return Embedded(server, embedded_hook)


def run(task: Any, **context: Any) -> Any:
    """Run a task as Airflow does: execute, wait in its triggers, resume, to its result or error."""
    made = context_of(task, **context)
    step = functools.partial(task.execute, made)
    while True:
        try:
            return step()
        except TaskDeferred as deferred:
            event = asyncio.run(first_event(deferred.trigger))
            kwargs = {**(deferred.kwargs or {}), "event": event}
            step = functools.partial(task.resume_execution, deferred.method_name, kwargs, made)


async def first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger fired nothing")


def sensor_of(submitted: dict[str, Any], **arguments: Any) -> Any:
    kind = ProcessingJobSensor if submitted["spec"]["kind"] == "Processing" else TransformJobSensor
    polls = {"first_poll_seconds": 0.2, "max_poll_seconds": 1}
    return kind(task_id="wait", job_name="x", spec=submitted["spec"], **polls, **arguments)


def submit(operator: type, config: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return run(operator(task_id="submit", config=config, **arguments))


@contextmanager
def told(error: type[Exception]) -> Iterator[list[str]]:
    """What an expected error says, in a list that is filled when it was raised."""
    said: list[str] = []
    with pytest.raises(error) as raised:
        yield said
    said.append(str(raised.value))


def test_a_processing_job_runs_and_is_accounted_for(embedded: Embedded):
    """Submitted, waited for, its output under its own name, its message and billed time in the account."""
    script = (
        "from pathlib import Path; Path('/opt/ml/processing/output/a.txt').write_text('done'); "
        "Path('/opt/ml/output/message').write_text('algo-1: 1 in')"
    )
    submitted = submit(ProcessingJobOperator, embedded.processing(script))
    result = run(sensor_of(submitted))
    assert (result["job_name"], result["status"], result["attempt"]) == (f"{embedded.name}-1", "Completed", 1)
    assert result["exit_message"] == "algo-1: 1 in"
    assert embedded.outputs(result["output_uri"]) == {"a.txt": "done"}
    assert result["billed_seconds"] == pytest.approx(result["ended_at"] - result["started_at"], abs=0.002)
    assert (
        submit(ProcessingJobOperator, embedded.processing(script))["Processing"]["ProcessingJobStatus"]
        == "Completed"
    )


def test_a_container_that_fails_is_quoted_from_its_log(embedded: Embedded):
    """Exit code 3: the traceback is in the error, and no second job is paid for."""
    script = "import sys; print('reading'); print('ValueError: column 3', file=sys.stderr); sys.exit(3)"
    submitted = submit(ProcessingJobOperator, embedded.processing(script))
    with told(JobFailedPermanently) as said:
        run(sensor_of(submitted))
    assert "FailureReason: AlgorithmError" in said[0]
    assert "    ValueError: column 3" in said[0]
    with told(JobFailedPermanently):
        run(sensor_of(submitted), try_number=2)
    assert embedded.jobs("processing") == 1


def test_a_job_that_runs_too_long_is_stopped_and_not_run_again(embedded: Embedded):
    """Stopped on AWS within a poll; the next try says so again and pays for nothing."""
    submitted = submit(ProcessingJobOperator, embedded.processing("import time; time.sleep(600)"))
    began = time.monotonic()
    with told(JobRanTooLong) as said:
        run(sensor_of(submitted, max_runtime_seconds="2"))
    assert time.monotonic() - began < 300
    assert "Stopped by Airflow: it reached its time limit" in said[0]
    embedded.wait_for("processing", 1, "Stopped")
    with told(JobRanTooLong):
        run(sensor_of(submitted, max_runtime_seconds=2), try_number=2)
    assert embedded.jobs("processing") == 1


def test_a_task_whose_time_is_up_stops_its_job_and_tries_again(embedded: Embedded):
    """Its own time, not the job's: the next try starts attempt 2."""
    submitted = submit(ProcessingJobOperator, embedded.processing("import time; time.sleep(600)"))
    for try_number in (1, 2):
        with told(JobTimedOut) as said:
            run(sensor_of(submitted, timeout=2, retries=1), try_number=try_number)
        assert "was stopped: its task timed out" in said[0]
        assert embedded.status("processing", try_number) in {"Stopping", "Stopped"}


def test_aws_stopping_a_job_at_its_own_limit_is_a_timeout(embedded: Embedded):
    """MaxRuntimeInSeconds: Stopped without a reason, told apart from a person's stop by time."""
    config = embedded.processing(
        "import time; time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": "2"}
    )
    submitted = submit(ProcessingJobOperator, config)
    for try_number in (1, 2):
        with told(JobRanTooLong) as said:
            run(sensor_of(submitted), try_number=try_number)
        assert "was stopped: it reached its time limit" in said[0]
    assert embedded.jobs("processing") == 1


def test_a_person_who_stops_a_job_on_aws_has_the_last_word(embedded: Embedded):
    """No retry starts it again."""
    submitted = submit(ProcessingJobOperator, embedded.processing("import time; time.sleep(600)"))
    embedded.sagemaker.stop_processing_job(ProcessingJobName=f"{embedded.name}-1")
    for try_number in (1, 2):
        with told(JobStopped):
            run(sensor_of(submitted), try_number=try_number)


def test_a_transform_scores_every_object_through_throttles_errors_and_cuts(embedded: Embedded):
    """One job, although CreateTransformJob's answer was lost and Describe failed many times."""
    for number in range(4):
        embedded.put(f"features/part-{number}.csv", f"{number}\n{number + 0.5}\n")
    embedded.fault(kind="withhold", operation="CreateTransformJob", job_name_contains=embedded.name)
    embedded.fault(
        kind="throttle", operation="DescribeTransformJob", job_name_contains=embedded.name, count=5
    )
    embedded.fault(
        kind="error", status=500, operation="DescribeTransformJob", job_name_contains=embedded.name, count=3
    )
    embedded.fault(kind="drop", operation="DescribeTransformJob", job_name_contains=embedded.name, count=2)
    submitted = submit(TransformJobOperator, embedded.transform())
    result = run(sensor_of(submitted))
    assert embedded.outputs(result["output_uri"]) == {
        f"part-{number}.csv.out": f"{2.0 * number}\n{2 * (number + 0.5)}\n" for number in range(4)
    }
    assert (result["attempt"], result["instance_count"], result["earlier_attempts"]) == (1, 2, [])
    assert clean_up(embedded.hook, embedded.name) == [embedded.name]


def test_a_model_is_made_of_a_package_found_again_and_deleted(embedded: Embedded):
    """A version of a group in the model registry; the operator finds the model that a try before it made."""
    embedded.put("features/part-0.csv", "1\n")
    config = embedded.transform()
    containers = [config["Model"].pop("PrimaryContainer")]
    embedded.sagemaker.create_model_package_group(ModelPackageGroupName=embedded.name)
    package = embedded.sagemaker.create_model_package(
        ModelPackageGroupName=embedded.name,
        InferenceSpecification={"Containers": containers},
        ModelApprovalStatus="Approved",
    )["ModelPackageArn"]
    config["Model"]["PrimaryContainer"] = {"ModelPackageName": package}
    embedded.sagemaker.create_model(
        ModelName=embedded.name, ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": package}
    )
    submitted = submit(TransformJobOperator, config)
    result = run(sensor_of(submitted))
    assert embedded.outputs(result["output_uri"]) == {"part-0.csv.out": "2.0\n"}
    assert clean_up(embedded.hook, embedded.name) == [embedded.name]


def test_capacity_errors_go_to_the_next_type_within_one_try(embedded: Embedded):
    """Two types without instances, then success on the third; the first two cost nothing."""
    embedded.put("features/part-0.csv", "1\n")
    embedded.fault(kind="capacity", job_name_contains=embedded.name, count=2)
    submitted = submit(
        TransformJobOperator, embedded.transform(), instance_types=["ml.m5.xlarge", "ml.c5.xlarge"]
    )
    result = run(sensor_of(submitted))
    assert (result["attempt"], result["instance_type"]) == (3, "ml.c5.xlarge")
    assert [each["billed_seconds"] for each in result["earlier_attempts"]] == [0.0, 0.0]
    assert embedded.outputs(result["output_uri"]) == {"part-0.csv.out": "2.0\n"}


def test_one_bad_object_is_repaired_and_only_it_is_run_again(embedded: Embedded):
    """Failed for good with the log's line; after the repair a cleared sensor resumes, and the set is whole."""
    for number in range(6):
        embedded.put(f"features/part-{number}.csv", "bad\n" if number == 3 else f"{number}\n")
    submitted = submit(TransformJobOperator, embedded.transform(), resume=True)
    with told(JobFailed) as said:
        run(sensor_of(submitted))
    assert "a bad record" in said[0]
    embedded.put("features/part-3.csv", "3\n")
    result = run(sensor_of(submitted), try_number=2, max_tries=1)
    assert result["attempt"] == 2
    sets = [embedded.outputs(uri) for uri in result["output_uris"]]
    assert [sorted(found) for found in sets] == [
        [f"part-{n}.csv.out" for n in (0, 1, 2, 4, 5)],
        ["part-3.csv.out"],
    ]
    assert {name: text for found in sets for name, text in found.items()} == {
        f"part-{number}.csv.out": f"{2.0 * number}\n" for number in range(6)
    }


def test_a_quota_in_use_is_waited_for(embedded: Embedded):
    """Another job holds the quota; when it is stopped the operator gets its instances."""
    other = embedded.processing("import time; time.sleep(600)")
    other["ProcessingJobName"] = f"{embedded.name}-other"
    other["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 4
    submit(ProcessingJobOperator, other)
    operator = ProcessingJobOperator(task_id="p", config=embedded.processing("print('hello')"))
    operator.first_retry_pause_seconds = 0.5
    context = context_of(operator)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert deferred.value.method_name == "retry_submit"
    assert clean_up(embedded.hook, f"{embedded.name}-other") == [f"{embedded.name}-other-1"]
    embedded.wait_for("processing", "other-1", "Stopped")
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            result = operator.resume_execution("retry_submit", dict(deferred.value.kwargs or {}), context)
            break
        except TaskDeferred:
            time.sleep(0.5)
    else:
        pytest.fail("the operator does not get the instances that are free")
    assert result["Processing"]["ProcessingJobName"] == f"{embedded.name}-1"
    assert run(sensor_of(result))["status"] == "Completed"
