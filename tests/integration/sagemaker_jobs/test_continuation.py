"""What may follow a transform that failed for good: a strategy that the DAG hands in is asked."""

from __future__ import annotations

import time
import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from sagemaker_jobs.airflow_compat import TaskDeferred
from sagemaker_jobs.errors import JobFailedPermanently
from sagemaker_jobs.failure.rejected_objects import read_rejected_objects
from sagemaker_jobs.job.continuation import NoFurtherAttempt, Resolved
from sagemaker_jobs.job.resume import RemainingInput, write_remaining_input
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.operators import TransformJobOperator
from sagemaker_jobs.sensors import TransformJobSensor
from tests.integration.sagemaker_jobs.builders import context_of
from tests.integration.sagemaker_jobs.specs import transform_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job
    from sagemaker_jobs.job.spec import JobSpec
    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook")

ALGORITHM = "AlgorithmError: See job logs for more information"
INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."


@dataclass
class Scripted:
    """Answers what it was told to, in order; ``{"object_names": …}`` is a further job over these objects."""

    answers: list[Any]
    asked: list[list[str]] = field(default_factory=list)

    def decide_next(
        self, hook: SageMakerHook, spec: JobSpec, jobs: Sequence[Job]
    ) -> Resolved | RemainingInput | NoFurtherAttempt | None:
        self.asked.append([job.status for job in jobs])
        answer = self.answers.pop(0)
        if isinstance(answer, dict):
            return write_remaining_input(hook, spec, len(jobs) + 1, "s3://bucket/run/pieces/", **answer)
        return answer


@pytest.fixture
def bucket(moto_url: str) -> Iterator[Any]:
    """s3://bucket/ with five objects of input."""
    client = boto3.Session("x", "x", region_name="us-east-1").client("s3", endpoint_url=moto_url)
    client.create_bucket(Bucket="bucket")
    for number in range(5):
        client.put_object(Bucket="bucket", Key=f"run/features/part-{number}.csv", Body=b"1")
    yield client
    for item in client.list_objects_v2(Bucket="bucket").get("Contents", []):
        client.delete_object(Bucket="bucket", Key=item["Key"])


def test_a_remainder_is_the_next_attempt(aws: FakeSageMaker, hook: SageMakerHook, bucket: Any):
    """On its own objects and no more instances than it says; the spec knows the job again as its own."""
    spec = transform_spec(resume=True, max_attempts=1)
    strategy = Scripted([{"object_names": ["a.csv", "b.csv", "c.csv"], "instance_limit": 1}])
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    assert ensure_job(hook, spec, continuation=strategy).name == "score-0123-2"
    job = aws.jobs["score-0123-2"]
    assert job["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] == "ManifestFile"
    assert job["TransformResources"]["InstanceCount"] == 1
    assert ensure_job(hook, spec, continuation=strategy).name == "score-0123-2"
    assert strategy.asked == [["Failed"]]


def test_an_internal_error_goes_on_with_what_the_remainder_left(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Any
):
    """Nobody is asked, and what failed for good before does not count against max_attempts."""
    spec = transform_spec(resume=True, max_attempts=2)
    strategy = Scripted([{"object_names": ["a.csv", "b.csv"]}])
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    ensure_job(hook, spec, continuation=strategy)
    bucket.put_object(Bucket="bucket", Key="run/score-0123-2/predictions/a.csv.out", Body=b"1")
    aws.end("score-0123-2", "Failed", FailureReason=INTERNAL)
    assert ensure_job(hook, spec, continuation=strategy).name == "score-0123-3"
    body = bucket.get_object(Bucket="bucket", Key="run/score-0123-3/predictions-manifest.json")["Body"].read()
    assert body == b'[{"prefix": "s3://bucket/run/pieces/"}, "b.csv"]'


def test_settled_work_is_a_success_of_the_sensor(aws: FakeSageMaker, hook: SageMakerHook, bucket: Any):
    """It goes on by itself, without a retry, and its result carries the account and both prefixes."""
    spec = transform_spec(resume=True)
    strategy = Scripted([{"object_names": ["a.csv"]}, Resolved({"refused": 1})])
    ensure_job(hook, spec)
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict(), continuation=strategy)
    context = context_of(sensor)
    with pytest.raises(TaskDeferred):
        sensor.execute(context)
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute_complete(context, {"status": "Failed"}, "score-0123-1", 1)
    assert deferred.value.kwargs is not None
    assert deferred.value.kwargs["job_name"] == "score-0123-2"
    aws.end("score-0123-2", "Failed", FailureReason=ALGORITHM)
    result = sensor.execute_complete(context, {"status": "Failed"}, "score-0123-2", 2)
    assert (result["status"], result["resolution"]) == ("Failed", {"refused": 1})
    assert len(result["output_uris"]) == 2
    assert strategy.asked == [["Failed"], ["Failed", "Failed"]]


def test_a_completed_job_is_accounted_for_too(aws: FakeSageMaker, hook: SageMakerHook, bucket: Any):
    """What was cut and then answered still has to be put together."""
    spec = transform_spec(resume=True)
    ensure_job(hook, spec)
    aws.end("score-0123-1")
    strategy = Scripted([Resolved({"refused": 0}), None])
    for settled in ({"refused": 0}, None):
        sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict(), continuation=strategy)
        assert sensor.execute(context_of(sensor))["resolution"] == settled


@pytest.mark.parametrize(
    "answer",
    [None, NoFurtherAttempt("Too many are bad."), NoFurtherAttempt("Too many.", "Change the model.")],
)
def test_without_a_further_job_the_failure_stands(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Any, answer: Any
):
    """And says first why nobody goes on; a person who clears the task gets another attempt on what is left."""
    spec = transform_spec(resume=True)
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    sensor = TransformJobSensor(
        task_id="t", job_name="x", spec=spec.to_dict(), continuation=Scripted([answer] * 2)
    )
    with pytest.raises(JobFailedPermanently) as failed:
        sensor.execute(context_of(sensor))
    assert str(failed.value).startswith("SageMaker transform job score-0123-1 failed: ")
    assert ("\nToo many" in str(failed.value)) is bool(answer)
    says_so = answer is not None and answer.advice is not None
    assert (failed.value.advice == "Change the model.") is says_so
    assert ("\nWhat to do: Change the model." in str(failed.value)) is says_so
    with pytest.raises(TaskDeferred):
        sensor.execute(context_of(sensor, try_number=2, max_tries=1))
    assert list(aws.jobs) == ["score-0123-1", "score-0123-2"]


def test_a_clear_asks_once_and_not_for_each_job_that_follows(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Any
):
    """The attempt that a person asked for fails as well: nobody has asked for a third."""
    spec = transform_spec(resume=True)
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    sensor = TransformJobSensor(
        task_id="t", job_name="x", spec=spec.to_dict(), continuation=Scripted([None] * 9)
    )
    with pytest.raises(JobFailedPermanently):
        sensor.execute(context_of(sensor))
    cleared = context_of(sensor, try_number=2, max_tries=1)
    with pytest.raises(TaskDeferred):
        sensor.execute(cleared)
    aws.end("score-0123-2", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(JobFailedPermanently):
        sensor.execute_complete(cleared, {"status": "Failed"}, "score-0123-2", 2)
    assert list(aws.jobs) == ["score-0123-1", "score-0123-2"]


def test_an_operator_that_is_tried_again_goes_on_too(aws: FakeSageMaker, hook: SageMakerHook, bucket: Any):
    """Its worker died after it had submitted, and the job failed before it came back."""
    spec = transform_spec(resume=True)
    config = {"Model": spec.model, "Transform": {**spec.request, "TransformJobName": spec.base_name}}
    strategy = Scripted([{"object_names": ["a.csv"]}])
    first, second = (
        TransformJobOperator(task_id="t", config=deepcopy(config), resume=True, continuation=strategy)
        for _ in range(2)
    )
    first.execute(context_of(first))
    aws.end("score-0123-1", "Failed", FailureReason=ALGORITHM)
    result = second.execute(context_of(second, try_number=2))
    assert result["Transform"]["TransformJobName"] == "score-0123-2"


def log_of(url: str, job: str, streams: dict[str, list[str]]) -> None:
    """Write log streams of a job."""
    logs = boto3.Session("x", "x", region_name="us-east-1").client("logs", endpoint_url=url)
    if not logs.describe_log_groups(logGroupNamePrefix=TRANSFORM.log_group)["logGroups"]:
        logs.create_log_group(logGroupName=TRANSFORM.log_group)
    for name, lines in streams.items():
        where = {"logGroupName": TRANSFORM.log_group, "logStreamName": f"{job}/{name}"}
        logs.create_log_stream(**where)
        now = int(time.time() * 1000)
        logs.put_log_events(**where, logEvents=[{"timestamp": now, "message": line} for line in lines])


def test_the_services_log_says_which_objects_were_refused_and_how(
    aws: FakeSageMaker, hook: SageMakerHook, moto_url: str
):
    """Of all instances, by the object's name; what containers print themselves is no evidence."""
    spec = transform_spec()
    spec = type(spec).from_dict({**spec.to_dict(), "base_name": f"score-{uuid.uuid4().hex[:8]}"})
    job = ensure_job(hook, spec)
    head = "2026-01-31T07:30:00.000:[sagemaker logs]: "
    streams = {
        "i-1": [f"{head}bucket/run/features/printed.csv: ClientError: 400"],
        "i-1/data-log": [
            f"{head}MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
            f"{head}bucket/run/features/deep/a.csv: ClientError: 400",
            f"{head}bucket/run/features/deep/a.csv: ",
            f"{head}bucket/run/features/deep/a.csv: Message:",
            f"{head}bucket/run/features/deep/a.csv: column 3: not a number",
            f"{head}bucket/elsewhere/b.csv: ClientError: 400",
        ],
        "i-2/data-log": [f"{head}bucket/run/features/c.csv: Unable to get response from algorithm"],
    }
    log_of(moto_url, job.name, streams)
    assert read_rejected_objects(hook, job, "s3://bucket/run/features/") == {
        "deep/a.csv": ["ClientError: 400", "column 3: not a number"],
        "c.csv": ["Unable to get response from algorithm"],
    }


def test_a_job_without_a_log_has_refused_nothing(aws: FakeSageMaker, hook: SageMakerHook):
    """It may never have started."""
    assert read_rejected_objects(hook, ensure_job(hook, transform_spec()), "s3://bucket/run/features/") == {}
