"""What a further attempt changes: another instance type after no capacity, only the rest of the input after a part."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from sagemaker_jobs.airflow_compat import TaskDeferred
from sagemaker_jobs.errors import JobFailed, JobMismatch, NotVisibleYet, QuotaExceeded, SubmitFailed
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.operators import ProcessingJobOperator
from sagemaker_jobs.sensors import TransformJobSensor
from sagemaker_jobs.waiting.transform_progress import count_objects_for_progress
from tests.integration.sagemaker_jobs.builders import context_of, processing_config
from tests.integration.sagemaker_jobs.fake_sagemaker import quota_message
from tests.integration.sagemaker_jobs.specs import transform_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook")

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different type."
)
INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."
CLIENT = "ClientError: See job logs for more information"


class Bucket:
    """The bucket of the sample requests."""

    def __init__(self, url: str) -> None:
        session = boto3.Session("x", "x", region_name="us-east-1")
        self.client = session.client("s3", endpoint_url=url)
        self.client.create_bucket(Bucket="bucket")

    def put(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket="bucket", Key=key, Body=b"1")

    def json(self, key: str) -> Any:
        return json.load(self.client.get_object(Bucket="bucket", Key=key)["Body"])

    def clear(self) -> None:
        for item in self.client.list_objects_v2(Bucket="bucket").get("Contents", []):
            self.client.delete_object(Bucket="bucket", Key=item["Key"])


@pytest.fixture
def bucket(moto_url: str) -> Any:
    """An empty s3://bucket/."""
    made = Bucket(moto_url)
    yield made
    made.clear()


def no_capacity(aws: FakeSageMaker, name: str) -> None:
    """AWS found no instances: the job failed before it started, and is not billed."""
    aws.end(name, "Failed", FailureReason=CAPACITY)
    del aws.jobs[name]["TransformStartTime"]


def type_of(aws: FakeSageMaker, name: str) -> str:
    return str(aws.jobs[name]["TransformResources"]["InstanceType"])


def deferral_of(run: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        run()
    return deferred.value


def test_no_capacity_tries_the_next_type_of_the_list(aws: FakeSageMaker, hook: SageMakerHook):
    """In order, from the start again after the last; free attempts do not count against the limit."""
    spec = transform_spec(instance_types=("ml.m5.xlarge", "ml.c5.xlarge"), max_attempts=1)
    types = []
    for attempt in range(1, 6):
        name = ensure_job(hook, spec).name
        assert name == f"score-0123-{attempt}"
        types.append(type_of(aws, name))
        no_capacity(aws, name)
    assert types == ["ml.m5.large", "ml.m5.xlarge", "ml.c5.xlarge", "ml.m5.large", "ml.m5.xlarge"]


def test_a_failure_of_another_kind_keeps_the_type_that_ran(aws: FakeSageMaker, hook: SageMakerHook):
    """The second type had capacity: the third attempt uses it."""
    spec = transform_spec(instance_types=("ml.m5.xlarge",))
    no_capacity(aws, ensure_job(hook, spec).name)
    aws.end(ensure_job(hook, spec).name, "Failed", FailureReason=INTERNAL)
    assert type_of(aws, ensure_job(hook, spec).name) == "ml.m5.xlarge"
    assert ensure_job(hook, spec).attempt == 3


def test_a_type_outside_the_list_is_a_mismatch(aws: FakeSageMaker, hook: SageMakerHook):
    """Only what the spec allows may differ."""
    spec = transform_spec(instance_types=("ml.m5.xlarge",))
    no_capacity(aws, ensure_job(hook, spec).name)
    ensure_job(hook, spec)
    with pytest.raises(JobMismatch, match=r"InstanceType is 'ml.m5.xlarge', requested was 'ml.m5.large'"):
        ensure_job(hook, replace(spec, instance_types=()))


def test_the_sensor_goes_to_the_next_type_without_a_retry(aws: FakeSageMaker, hook: SageMakerHook):
    """Then, when all types are out, pauses without a worker, and at the end of its patience says why."""
    spec = transform_spec(instance_types=("ml.m5.xlarge",))
    ensure_job(hook, spec)
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict(), capacity_wait_seconds="100")
    context = context_of(sensor)
    deferral = deferral_of(lambda: sensor.execute(context))
    no_capacity(aws, "score-0123-1")

    def resume(event: Any) -> Any:
        return sensor.resume_execution(
            deferral.method_name, {**(deferral.kwargs or {}), "event": event}, context
        )

    deferral = deferral_of(lambda: resume({"status": "Failed"}))
    assert deferral.kwargs is not None
    assert (deferral.kwargs["job_name"], deferral.kwargs["submit_retry"]["pauses"]) == ("score-0123-2", 1)
    no_capacity(aws, "score-0123-2")
    deferral = deferral_of(lambda: resume({"status": "Failed"}))
    assert type(deferral.trigger).__name__ == "TimeDeltaTrigger"
    assert deferral.method_name == "retry_submit"
    deferral = deferral_of(lambda: resume(None))
    assert deferral.kwargs is not None
    assert deferral.kwargs["job_name"] == "score-0123-3"
    assert type_of(aws, "score-0123-3") == "ml.m5.large"
    deferral.kwargs["submit_retry"]["since"] -= 100
    no_capacity(aws, "score-0123-3")
    with pytest.raises(JobFailed, match="had no free instances"):
        resume({"status": "Failed"})


def test_a_quota_in_use_is_waited_for_without_a_worker(aws: FakeSageMaker, hook: SageMakerHook):
    """The operator tries again after a pause; without patience it says so at once."""
    aws.refuse("CreateProcessingJob", "ResourceLimitExceeded", quota_message(4, in_use=3, wanted=2), times=3)
    hasty = ProcessingJobOperator(task_id="p", config=processing_config(), capacity_wait_seconds=0)
    with pytest.raises(QuotaExceeded):
        hasty.execute(context_of(hasty))
    operator = ProcessingJobOperator(task_id="p", config=processing_config())
    context = context_of(operator)
    deferral = deferral_of(lambda: operator.execute(context))
    for _ in range(2):
        resumed = ProcessingJobOperator(task_id="p", config=processing_config())
        kwargs = {**(deferral.kwargs or {}), "event": "a moment"}
        again = context_of(resumed, xcoms=context["ti"].xcoms)
        if aws.script["CreateProcessingJob"]:
            deferral = deferral_of(lambda: resumed.resume_execution("retry_submit", kwargs, again))  # noqa: B023 - called here
        else:
            result = resumed.resume_execution("retry_submit", kwargs, again)
    assert result["Processing"]["ProcessingJobName"] == "abalone-preprocess-0123456789-1"


def test_an_aws_that_takes_no_jobs_is_waited_for_without_a_worker(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Throttled beyond a call's own patience: a pause, and then the job is created; without patience it is told."""
    monkeypatch.setattr(
        "sagemaker_jobs.aws.stop_after_delay", lambda seconds: lambda state: state.attempt_number >= 3
    )
    aws.refuse("CreateProcessingJob", "ThrottlingException", "Rate exceeded", times=3)
    operator = ProcessingJobOperator(task_id="p", config=processing_config())
    context = context_of(operator)
    deferral = deferral_of(lambda: operator.execute(context))
    assert deferral.method_name == "retry_submit"
    kwargs = {**(deferral.kwargs or {}), "event": "a moment"}
    result = operator.resume_execution("retry_submit", kwargs, context)
    assert result["Processing"]["ProcessingJobName"] == "abalone-preprocess-0123456789-1"
    aws.refuse("CreateProcessingJob", "ThrottlingException", "Rate exceeded", times=3)
    hasty = ProcessingJobOperator(task_id="p", config=processing_config("other"), capacity_wait_seconds=0)
    with pytest.raises(SubmitFailed, match="Rate exceeded"):
        hasty.execute(context_of(hasty))


def test_a_job_that_aws_does_not_describe_yet_is_waited_for_without_a_worker(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """For some minutes, however short the patience for room: the job exists, and no second one is made."""
    not_found = ("DescribeProcessingJob", "ValidationException", "Could not find requested job with name: x")
    aws.refuse(*not_found, times=4)
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), capacity_wait_seconds=0)
    context = context_of(operator)
    deferral = deferral_of(lambda: operator.execute(context))
    assert deferral.trigger.serialize()[1]["moment"].timestamp() - time.time() < 20
    kwargs = {**(deferral.kwargs or {}), "event": "a moment"}
    deferral = deferral_of(lambda: operator.resume_execution("retry_submit", kwargs, context))
    kwargs = {**(deferral.kwargs or {}), "event": "a moment"}
    result = operator.resume_execution("retry_submit", kwargs, context)
    assert result["Processing"]["ProcessingJobName"] == "abalone-preprocess-0123456789-1"
    assert list(aws.jobs) == ["abalone-preprocess-0123456789-1"]
    aws.refuse(*not_found, times=2)
    kwargs["submit_retry"]["unseen_since"] -= 300
    with pytest.raises(NotVisibleYet, match="does not describe it yet"):
        operator.resume_execution("retry_submit", kwargs, context)


def test_a_job_that_is_taken_at_the_end_of_a_long_wait_for_room_is_waited_for_like_any_other(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """The patience for room is over, and so was the wait for the job that had got it: it ran with nobody waiting."""
    aws.refuse("CreateProcessingJob", "ResourceLimitExceeded", quota_message(4, in_use=3, wanted=2))
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), capacity_wait_seconds=3600)
    context = context_of(operator)
    deferral = deferral_of(lambda: operator.execute(context))
    kwargs = {"submit_retry": {"since": time.time() - 3599, "pauses": 9}, "event": "a moment"}
    aws.refuse(
        "DescribeProcessingJob", "ValidationException", "Could not find requested job with name: x", times=2
    )
    deferral = deferral_of(lambda: operator.resume_execution("retry_submit", kwargs, context))
    assert list(aws.jobs) == ["abalone-preprocess-0123456789-1"]
    assert deferral.trigger.serialize()[1]["moment"].timestamp() - time.time() < 20
    kwargs = {**(deferral.kwargs or {}), "event": "a moment"}
    result = operator.resume_execution("retry_submit", kwargs, context)
    assert result["Processing"]["ProcessingJobName"] == "abalone-preprocess-0123456789-1"


def test_the_rest_is_given_to_no_more_instances_than_it_has_objects(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """One object left of five: one instance, and the job is known again as this spec's."""
    spec = transform_spec(resume=True)
    bucket.put(*[f"run/features/part-{number}.csv" for number in range(5)])
    ensure_job(hook, spec)
    assert aws.jobs["score-0123-1"]["TransformResources"]["InstanceCount"] == 2
    bucket.put(*[f"run/score-0123-1/predictions/part-{number}.csv.out" for number in range(4)])
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    assert ensure_job(hook, spec).name == "score-0123-2"
    assert aws.jobs["score-0123-2"]["TransformResources"]["InstanceCount"] == 1
    assert ensure_job(hook, spec).name == "score-0123-2"


def test_a_job_for_a_small_rest_stays_small_when_it_got_no_instance(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """A rest of many small objects, sized for one instance, is not tried again on as many as were planned for all."""
    spec = transform_spec(resume=True)
    bucket.put(*[f"run/features/part-{number}.csv" for number in range(5)])
    ensure_job(hook, spec)
    bucket.put("run/score-0123-1/predictions/part-0.csv.out")
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    ensure_job(hook, spec)
    aws.jobs["score-0123-2"]["TransformResources"]["InstanceCount"] = 1  # as whoever goes on may ask for
    no_capacity(aws, "score-0123-2")
    assert ensure_job(hook, spec).name == "score-0123-3"
    assert len(bucket.json("run/score-0123-3/predictions-manifest.json")[1:]) == 4
    assert aws.jobs["score-0123-3"]["TransformResources"]["InstanceCount"] == 1


def test_a_transform_that_failed_in_part_goes_on_with_the_rest(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """The second attempt's manifest names only the objects without output; the account lists both prefixes."""
    spec = transform_spec(resume=True)
    bucket.put(*[f"run/features/part-{number}.csv" for number in range(5)], "run/features/")
    ensure_job(hook, spec)
    bucket.put(*[f"run/score-0123-1/predictions/part-{number}.csv.out" for number in (0, 1, 3)])
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    assert ensure_job(hook, spec).name == "score-0123-2"
    source = aws.jobs["score-0123-2"]["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {
        "S3DataType": "ManifestFile",
        "S3Uri": "s3://bucket/run/score-0123-2/predictions-manifest.json",
    }
    assert aws.jobs["score-0123-2"]["TransformResources"]["InstanceCount"] == 2
    assert bucket.json("run/score-0123-2/predictions-manifest.json") == [
        {"prefix": "s3://bucket/run/features/"},
        "part-2.csv",
        "part-4.csv",
    ]
    assert ensure_job(hook, spec).name == "score-0123-2"
    aws.end("score-0123-2")
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())
    result = sensor.execute(context_of(sensor))
    assert result["output_uri"] == "s3://bucket/run/score-0123-2/predictions/"
    assert result["output_uris"] == [
        "s3://bucket/run/score-0123-1/predictions/",
        "s3://bucket/run/score-0123-2/predictions/",
    ]
    assert result["earlier_attempts"] == [
        {
            "job_name": "score-0123-1",
            "status": "Failed",
            "failure_reason": INTERNAL,
            "instance_type": "ml.m5.large",
            "instance_count": 2,
            "billed_seconds": pytest.approx(120, abs=0.01),
        }
    ]


def test_a_third_attempt_counts_what_the_first_two_have(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """Each object is paid for once; when all are done, one is done again, as AWS runs no job without input."""
    spec = transform_spec(resume=True)
    bucket.put(*[f"run/features/part-{number}.csv" for number in range(4)])
    ensure_job(hook, spec)
    for attempt, keys in ((1, (0, 1)), (2, (2,)), (3, (3,))):
        bucket.put(*[f"run/score-0123-{attempt}/predictions/part-{number}.csv.out" for number in keys])
        aws.end(f"score-0123-{attempt}", "Failed", FailureReason=INTERNAL)
        ensure_job(hook, replace(spec, max_attempts=9))
    manifests = [
        bucket.json(f"run/score-0123-{attempt}/predictions-manifest.json")[1:] for attempt in (2, 3, 4)
    ]
    assert manifests == [["part-2.csv", "part-3.csv"], ["part-3.csv"], ["part-3.csv"]]


def test_an_attempt_without_output_is_run_again_whole(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """And is no part of the set that the account lists."""
    spec = transform_spec(resume=True)
    bucket.put("run/features/part-0.csv")
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    ensure_job(hook, spec)
    source = aws.jobs["score-0123-2"]["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/run/features/"}
    aws.end("score-0123-2")
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())
    assert sensor.execute(context_of(sensor))["output_uris"] == ["s3://bucket/run/score-0123-2/predictions/"]


def test_outputs_that_are_not_this_jobs_are_never_taken_for_done(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """Attempts that write into one prefix cannot be told apart there: the whole input is run again."""
    spec = transform_spec(resume=True)
    spec.request["TransformOutput"]["S3OutputPath"] = "s3://bucket/run/predictions/"
    bucket.put("run/features/part-0.csv", "run/features/part-1.csv", "run/predictions/part-0.csv.out")
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    ensure_job(hook, spec)
    assert (
        aws.jobs["score-0123-2"]["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] == "S3Prefix"
    )


def test_outputs_of_another_request_are_never_taken_for_done(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """The DAG was changed between the tries: what the old request made does not fit."""
    spec = transform_spec(resume=True)
    bucket.put(
        "run/features/part-0.csv", "run/features/part-1.csv", "run/score-0123-1/predictions/part-0.csv.out"
    )
    ensure_job(hook, spec)
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    changed = transform_spec(resume=True)
    changed.request["TransformOutput"]["Accept"] = "application/json"
    ensure_job(hook, changed)
    assert (
        aws.jobs["score-0123-2"]["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] == "S3Prefix"
    )


def test_a_cleared_sensor_resumes_after_a_bad_object(aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket):
    """One bad object of twenty fails the job for good; once repaired, only it is run."""
    spec = transform_spec(resume=True)
    bucket.put(*[f"run/features/part-{number:02}.csv" for number in range(20)])
    ensure_job(hook, spec)
    bucket.put(
        *[f"run/score-0123-1/predictions/part-{number:02}.csv.out" for number in range(20) if number != 7]
    )
    aws.end("score-0123-1", "Failed", FailureReason=CLIENT)
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())
    with pytest.raises(JobFailed):
        sensor.execute(context_of(sensor))
    cleared = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())
    deferral_of(lambda: cleared.execute(context_of(cleared, try_number=2, max_tries=1)))
    assert bucket.json("run/score-0123-2/predictions-manifest.json")[1:] == ["part-07.csv"]


def test_a_transform_of_a_manifest_goes_on_with_what_that_names_and_has_no_output(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """What lies beside the named objects is none of its input, also where names have folders in them."""
    spec = transform_spec(resume=True)
    spec.request["TransformInput"]["DataSource"]["S3DataSource"] = {
        "S3DataType": "ManifestFile",
        "S3Uri": "s3://bucket/run/jobs/0.manifest",
    }
    named = ["day=1/a.csv", "day=1/b.csv", "day=2/a.csv"]
    body = json.dumps([{"prefix": "s3://bucket/in/"}, *named]).encode()
    bucket.client.put_object(Bucket="bucket", Key="run/jobs/0.manifest", Body=body)
    bucket.put("in/day=1/c.csv", *(f"in/{name}" for name in named))
    ensure_job(hook, spec)
    bucket.put("run/score-0123-1/predictions/day=1/a.csv.out")
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    assert ensure_job(hook, spec).name == "score-0123-2"
    assert bucket.json("run/score-0123-2/predictions-manifest.json") == [
        {"prefix": "s3://bucket/in/"},
        "day=1/b.csv",
        "day=2/a.csv",
    ]
    aws.end("score-0123-2")
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())
    assert sensor.execute(context_of(sensor))["output_uris"] == [
        "s3://bucket/run/score-0123-1/predictions/",
        "s3://bucket/run/score-0123-2/predictions/",
    ]


@pytest.mark.parametrize("kind", ["S3Prefix", "ManifestFile"])
@pytest.mark.parametrize("uri", ["s3://bucket/zz/batch_input", "s3://bucket/zz/batch_input/"])
def test_a_transform_of_a_folder_named_without_its_slash_goes_on_with_the_rest(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket, uri: str, kind: str
):
    """AWS writes a.csv.out, and not batch_input/a.csv.out, as recorded; also by a manifest of a prefix alone."""
    bucket.put("zz/batch_input/a.csv", "zz/batch_input/b.csv", "zz/batch_input/c/d.csv")
    spec = transform_spec(resume=True)
    source = {"S3DataType": kind, "S3Uri": uri}
    if kind == "ManifestFile":
        source["S3Uri"] = "s3://bucket/zz-manifest.json"
        bucket.client.put_object(Bucket="bucket", Key="zz-manifest.json", Body=json.dumps([{"prefix": uri}]))
    spec.request["TransformInput"]["DataSource"]["S3DataSource"] = source
    job = ensure_job(hook, spec)
    assert count_objects_for_progress(hook, job) == 3
    bucket.put("run/score-0123-1/predictions/a.csv.out")
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    assert ensure_job(hook, spec).name == "score-0123-2"
    assert bucket.json("run/score-0123-2/predictions-manifest.json") == [
        {"prefix": "s3://bucket/zz/batch_input/"},
        "b.csv",
        "c/d.csv",
    ]


@pytest.mark.parametrize(
    ("keys", "uri", "outputs"),
    [
        # A folder that is the beginning of another name too: no recording shows what the outputs are called.
        (["zz/in/a.csv", "zz/in2/b.csv"], "s3://bucket/zz/in", ["a.csv.out"]),
        # Outputs that none of the objects explains: the rule is another one than we know.
        (["zz/in/a.csv", "zz/in/b.csv"], "s3://bucket/zz/in", ["in/a.csv.out"]),
        (["zz/in-a.csv", "zz/in-b.csv"], "s3://bucket/zz/in", ["a.csv.out"]),
    ],
)
def test_nothing_is_resumed_on_a_guess(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket, keys: list[str], uri: str, outputs: list[str]
):
    """The whole input is run again."""
    bucket.put(*keys)
    spec = transform_spec(resume=True)
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    spec.request["TransformInput"]["DataSource"]["S3DataSource"] = source
    ensure_job(hook, spec)
    bucket.put(*[f"run/score-0123-1/predictions/{name}" for name in outputs])
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    ensure_job(hook, spec)
    assert aws.jobs["score-0123-2"]["TransformInput"]["DataSource"]["S3DataSource"] == source


def test_an_output_path_without_its_slash_is_that_job_alone(
    aws: FakeSageMaker, hook: SageMakerHook, bucket: Bucket
):
    """What score-0123-10 wrote is none of what score-0123-1 did."""
    bucket.put("run/features/a.csv", "run/features/b.csv")
    spec = transform_spec(resume=True)
    spec.request["TransformOutput"]["S3OutputPath"] = "s3://bucket/run/{job_name}"
    ensure_job(hook, spec)
    bucket.put("run/score-0123-1/a.csv.out", "run/score-0123-10/b.csv.out")
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    ensure_job(hook, spec)
    assert bucket.json("run/score-0123-2-manifest.json") == [{"prefix": "s3://bucket/run/features/"}, "b.csv"]
