"""A job is paid for once: found when it exists, started when it does not, tried again only where that can help."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sagemaker_jobs.errors import (
    JobFailed,
    JobFailedPermanently,
    JobMismatch,
    JobRanTooLong,
    JobStopped,
    NotVisibleYet,
    QuotaExceeded,
    RequestRefused,
    SubmitFailed,
)
from sagemaker_jobs.job.describe import stop_job
from sagemaker_jobs.job.submit import ensure_job, stop_attempts
from sagemaker_jobs.kinds import PROCESSING
from tests.integration.sagemaker_jobs.fake_sagemaker import quota_message
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."
ALGORITHM = "AlgorithmError: See job logs for more information"


def test_the_first_attempt_is_created_with_its_name_in_every_string(aws: FakeSageMaker, hook: SageMakerHook):
    """{job_name} in an output URI becomes the final name, so no attempt writes where another wrote."""
    job = ensure_job(hook, processing_spec())
    assert (job.name, job.attempt, job.status) == ("work-0123-1", 1, "InProgress")
    sent = next(request for operation, request in aws.calls if operation == "CreateProcessingJob")
    assert sent["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == "s3://bucket/run/work-0123-1/"
    assert sent["Environment"] == {"WORKERS": "8"}


@pytest.mark.parametrize("status", ["InProgress", "Completed"])
def test_a_job_that_runs_or_has_completed_is_adopted(aws: FakeSageMaker, hook: SageMakerHook, status: str):
    """However often it is asked, one job is created."""
    ensure_job(hook, processing_spec())
    if status == "Completed":
        aws.end("work-0123-1")
    for _ in range(3):
        assert ensure_job(hook, processing_spec()).name == "work-0123-1"
    assert aws.count("CreateProcessingJob") == 1


def test_many_who_ask_at_once_get_one_job(aws: FakeSageMaker, hook: SageMakerHook):
    """Operator, sensor and retries may race: AWS gives the name out once, the rest adopt it."""
    hook.get_conn()
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: ensure_job(hook, transform_spec()).name, range(8)))
    assert names == ["score-0123-1"] * 8
    assert list(aws.jobs) == ["score-0123-1"]
    assert list(aws.models) == ["abalone-transform-0123456789"]


def test_a_lost_answer_of_create_is_found_by_describe(aws: FakeSageMaker, hook: SageMakerHook):
    """The network is cut between CreateJob and its answer: the job that exists is used, no second one is made."""
    aws.drop_response("CreateTransformJob")
    assert ensure_job(hook, transform_spec()).name == "score-0123-1"
    assert list(aws.jobs) == ["score-0123-1"]


def test_a_call_that_never_reached_aws_is_sent_again(aws: FakeSageMaker, hook: SageMakerHook):
    """The network is cut before CreateJob arrives."""
    aws.drop_request("CreateTransformJob", times=2)
    aws.drop_response("CreateModel")
    assert ensure_job(hook, transform_spec()).name == "score-0123-1"
    assert aws.count("CreateTransformJob") == 3


def test_throttling_and_server_errors_are_outlived(aws: FakeSageMaker, hook: SageMakerHook):
    """Twenty throttles and ten 500s on the way cost time, not the task."""
    aws.refuse("CreateProcessingJob", "ThrottlingException", "Rate exceeded", times=20)
    aws.refuse("DescribeProcessingJob", "InternalFailure", "try again", status=500, times=10)
    assert ensure_job(hook, processing_spec()).name == "work-0123-1"


@pytest.mark.parametrize(
    "reason", [INTERNAL, "CapacityError: Unable to provision requested ML compute capacity."]
)
def test_a_failure_that_may_pass_makes_room_for_the_next_attempt(
    aws: FakeSageMaker, hook: SageMakerHook, reason: str
):
    """Attempt 2 follows a failed attempt 1, under its own name and prefix; attempts have an end."""
    spec = processing_spec(max_attempts=2)
    ensure_job(hook, spec)
    aws.end("work-0123-1", "Failed", FailureReason=reason)
    second = ensure_job(hook, spec)
    assert (second.name, second.attempt) == ("work-0123-2", 2)
    assert second.description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"].endswith(
        "/work-0123-2/"
    )
    aws.end("work-0123-2", "Failed", FailureReason=reason)
    with pytest.raises(JobFailed, match="work-0123-2 failed"):
        ensure_job(hook, spec)
    assert aws.count("CreateProcessingJob") == 2


def test_an_algorithm_error_is_not_paid_for_twice(aws: FakeSageMaker, hook: SageMakerHook):
    """The same code on the same data would fail again."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    for _ in range(2):
        with pytest.raises(JobFailedPermanently):
            ensure_job(hook, processing_spec())
    assert aws.count("CreateProcessingJob") == 1


def test_a_person_who_clears_a_reported_failure_gets_a_new_attempt(aws: FakeSageMaker, hook: SageMakerHook):
    """A failure nobody has been told of is told first, even to a cleared task: it may be the new job's own."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(JobFailedPermanently):
        ensure_job(hook, processing_spec(), task_was_cleared=True)
    assert ensure_job(hook, processing_spec(), task_was_cleared=True).name == "work-0123-2"
    aws.end("work-0123-2")
    assert ensure_job(hook, processing_spec(), task_was_cleared=True).name == "work-0123-2"


def test_a_job_stopped_by_a_person_stays_stopped(aws: FakeSageMaker, hook: SageMakerHook):
    """Nobody's stop is overruled by an automatic retry."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Stopped", ran=10)
    with pytest.raises(JobStopped, match="Somebody stopped this job"):
        ensure_job(hook, processing_spec())
    assert aws.count("CreateProcessingJob") == 1


def test_a_job_that_this_code_stopped_may_run_again(aws: FakeSageMaker, hook: SageMakerHook):
    """The tag that is set before stopping tells our stop from a person's, even while the job is still stopping."""
    ensure_job(hook, processing_spec())
    assert stop_job(hook, PROCESSING, "work-0123-1", because="the task is failed") is True
    assert aws.status("work-0123-1") == "Stopping"
    assert ensure_job(hook, processing_spec()).name == "work-0123-2"
    operations = [operation for operation, _ in aws.calls]
    assert operations.index("AddTags") < operations.index("StopProcessingJob")


def test_a_stop_at_the_runtime_limit_is_told_apart_by_time(aws: FakeSageMaker, hook: SageMakerHook):
    """AWS gives no reason for it. The same would take as long again, so only a person who clears gets another."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Stopped", ran=3601)
    with pytest.raises(JobRanTooLong, match="time limit"):
        ensure_job(hook, processing_spec())
    assert aws.count("CreateProcessingJob") == 1
    assert ensure_job(hook, processing_spec(), task_was_cleared=True).name == "work-0123-2"


def test_a_job_stopped_before_its_runtime_limit_was_stopped_by_somebody(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """A person's stop, a minute before AWS would have stopped it."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Stopped", ran=3540)
    with pytest.raises(JobStopped):
        ensure_job(hook, processing_spec())


def test_a_job_that_differs_from_the_request_is_not_adopted(aws: FakeSageMaker, hook: SageMakerHook):
    """The message names each field, both values and the way out."""
    ensure_job(hook, processing_spec())
    other = processing_spec()
    other.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 3
    other.request["Environment"]["WORKERS"] = "9"
    with pytest.raises(JobMismatch) as raised:
        ensure_job(hook, other)
    message = str(raised.value)
    assert "ProcessingResources.ClusterConfig.InstanceCount is 2, requested was 3" in message
    assert "Environment.WORKERS is '8', requested was '9'" in message
    assert "Clear the submitting task" in message


def test_a_model_of_the_same_name_and_other_content_is_not_used(aws: FakeSageMaker, hook: SageMakerHook):
    """A model made by an earlier try is used; one with another image is not."""
    spec = transform_spec()
    ensure_job(hook, spec)
    other = transform_spec(max_attempts=2)
    assert other.model is not None
    other.model["PrimaryContainer"]["Image"] = "another:2"
    aws.end("score-0123-1", "Failed", FailureReason=INTERNAL)
    with pytest.raises(JobMismatch, match=r"PrimaryContainer\.Image"):
        ensure_job(hook, other)


@pytest.mark.parametrize(("limit", "error"), [(4, QuotaExceeded), (1, RequestRefused), (0, RequestRefused)])
def test_a_quota_in_use_may_be_retried_and_one_that_is_too_small_may_not(
    aws: FakeSageMaker, hook: SageMakerHook, limit: int, error: type[Exception]
):
    """AWS checks the quota when the job is created, and queues nothing; two never fit into one."""
    aws.refuse("CreateProcessingJob", "ResourceLimitExceeded", quota_message(limit, in_use=3, wanted=2))
    with pytest.raises(error, match="Lower InstanceCount") as raised:
        ensure_job(hook, processing_spec())
    assert type(raised.value) is error


def test_a_refused_request_says_what_aws_said(aws: FakeSageMaker, hook: SageMakerHook):
    """A wrong request is not repeated."""
    aws.refuse(
        "CreateTransformJob",
        "ValidationException",
        'No S3 objects found under S3 URL "s3://bucket/run/features/" given in input data source.',
    )
    with pytest.raises(RequestRefused, match="No S3 objects found") as raised:
        ensure_job(hook, transform_spec())
    assert "What to do: The input is missing" in str(raised.value)
    assert aws.count("CreateTransformJob") == 1


def test_an_aws_that_stays_away_is_an_error_that_may_be_retried(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Patience has an end; then Airflow's own retries take over."""
    monkeypatch.setattr(
        "sagemaker_jobs.aws.stop_after_delay", lambda seconds: lambda state: state.attempt_number >= 4
    )
    aws.refuse("CreateProcessingJob", "ServiceUnavailable", "gone", status=503, times=99)
    with pytest.raises(SubmitFailed, match="gone"):
        ensure_job(hook, processing_spec())
    assert aws.count("CreateProcessingJob") == 4


NOT_FOUND = "Could not find requested job with name: score-0123-1"


def test_a_job_that_aws_does_not_describe_yet_is_waited_for(aws: FakeSageMaker, hook: SageMakerHook):
    """ResourceInUse proves that it exists: neither a final failure nor a second job."""
    aws.refuse("DescribeTransformJob", "ValidationException", NOT_FOUND, times=2)
    with pytest.raises(NotVisibleYet, match="score-0123-1, and does not describe it yet: it was accepted"):
        ensure_job(hook, transform_spec())
    aws.refuse("DescribeTransformJob", "ValidationException", NOT_FOUND, times=2)
    with pytest.raises(NotVisibleYet, match="a job with this name already exists"):
        ensure_job(hook, transform_spec())
    assert ensure_job(hook, transform_spec()).name == "score-0123-1"
    assert list(aws.jobs) == ["score-0123-1"]


def test_a_model_that_aws_does_not_know_yet_is_waited_for(aws: FakeSageMaker, hook: SageMakerHook):
    """Neither by Describe, after another process has created it, nor by CreateTransformJob, after this one has."""
    missing = 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/m".'
    aws.refuse("CreateTransformJob", "ValidationException", missing)
    with pytest.raises(NotVisibleYet, match="Could not find model"):
        ensure_job(hook, transform_spec())
    aws.refuse("DescribeModel", "ValidationException", missing)
    with pytest.raises(NotVisibleYet, match="already existing model"):
        ensure_job(hook, transform_spec())
    assert ensure_job(hook, transform_spec()).name == "score-0123-1"


def test_a_model_that_is_not_ours_and_not_there_is_a_refused_request(aws: FakeSageMaker, hook: SageMakerHook):
    """Nothing has created it a moment ago."""
    spec = replace(transform_spec(), model=None)
    with pytest.raises(RequestRefused, match="Could not find model"):
        ensure_job(hook, spec)


def test_a_job_that_aws_does_not_describe_yet_is_stopped_all_the_same(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """Its task was cleared, and another job takes its place: it would run on beside that one."""
    ensure_job(hook, transform_spec())
    aws.refuse("DescribeTransformJob", "ValidationException", NOT_FOUND, times=2)
    assert stop_attempts(hook, transform_spec(), because="its task was cleared") == ["score-0123-1"]
    assert aws.status("score-0123-1") == "Stopping"
