"""Sensors hold no worker, fail when the job did, stop it when time is up, and say why."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerProcessingSensor, SageMakerTransformSensor
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

from sagemaker_jobs.airflow_compat import (
    AVAILABLE_SINCE,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from sagemaker_jobs.errors import (
    JobFailed,
    JobFailedPermanently,
    JobRanTooLong,
    JobStopped,
    JobTimedOut,
    RequestError,
    WaitInterrupted,
)
from sagemaker_jobs.failure.messages import RAN_TOO_LONG, TIMED_OUT
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.sagemaker_jobs.builders import context_of
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook")

INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."
ALGORITHM = "AlgorithmError: See job logs for more information"


def processing_sensor(**changes: Any) -> ProcessingJobSensor:
    values = {"job_name": "work-0123-1", "spec": processing_spec().to_dict(), **changes}
    return ProcessingJobSensor(task_id="await_preprocess", **values)


def deferral_of(sensor: Any, context: dict[str, Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    return deferred.value


def resume(sensor: Any, deferral: TaskDeferred, event: dict[str, Any], **context: Any) -> Any:
    kwargs = {**(deferral.kwargs or {}), "event": event}
    return sensor.resume_execution(deferral.method_name, kwargs, context_of(sensor, **context))


@pytest.fixture
def job_log(moto_url: str) -> Any:
    """Writes lines to a log stream, as a container does."""
    logs = boto3.client(
        "logs",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )

    def write(group: str, stream: str, lines: list[str]) -> None:
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        now = int(time.time() * 1000)
        events = [{"timestamp": now + number, "message": line} for number, line in enumerate(lines)]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    yield write
    for group in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])


def test_they_are_the_providers_sensors(aws: FakeSageMaker):
    """isinstance against the provider's classes holds, and stock arguments are taken."""
    processing = ProcessingJobSensor(
        task_id="p", job_name="x", mode="reschedule", poke_interval=10, timeout=60
    )
    assert isinstance(processing, SageMakerProcessingSensor)
    assert isinstance(TransformJobSensor(task_id="t", job_name="x"), SageMakerTransformSensor)


def test_poke_of_the_provider_now_tells_the_truth(aws: FakeSageMaker, hook: SageMakerHook):
    """Code that pokes directly sees a stopped transform fail, and a failed processing job's reason."""
    ensure_job(hook, transform_spec())
    aws.end("score-0123-1", "Stopped")
    with pytest.raises(Exception, match="the job is Stopped"):
        TransformJobSensor(task_id="t", job_name="score-0123-1").poke({})
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(Exception, match=ALGORITHM):
        ProcessingJobSensor(task_id="p", job_name="work-0123-1").poke({})


def test_waiting_is_always_deferred(aws: FakeSageMaker, hook: SageMakerHook):
    """The first execute finds the job, leaves its links, and gives the worker back."""
    job = ensure_job(hook, processing_spec())
    sensor = processing_sensor(first_poll_seconds=7, max_poll_seconds=20, max_runtime_seconds="600")
    context = context_of(sensor)
    deferral = deferral_of(sensor, context)
    path, arguments = deferral.trigger.serialize()
    assert path == "sagemaker_jobs.triggers.SageMakerJobTrigger"
    assert (arguments["kind"], arguments["job_name"]) == ("Processing", "work-0123-1")
    assert (arguments["first_poll_seconds"], arguments["max_poll_seconds"]) == (7, 20)
    assert arguments["max_runtime_seconds"] == 600.0
    assert arguments["created_at"] == job.description["CreationTime"].timestamp()
    # Airflow's own timeout comes after the trigger's: an hour to provision, the limit, a minute.
    assert 3600 + 600 + 60 - 5 < deferral.timeout.total_seconds() <= 3600 + 600 + 60
    assert set(context["ti"].xcoms) == {"sagemaker_processing_job_details", "sagemaker_job_logs"}


def test_a_task_is_not_resumed_before_the_scheduler_knows_that_its_worker_is_gone(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Which it may learn by `min_heartbeat_interval` late; a shorter pause is lengthened."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "5")
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(first_poll_seconds=1)
    _, arguments = deferral_of(sensor, context_of(sensor)).trigger.serialize()
    assert arguments["first_poll_seconds"] == 10


def test_a_completed_job_becomes_a_small_account(aws: FakeSageMaker, hook: SageMakerHook):
    """Times as epoch seconds, billed instance seconds, where the output is; JSON-safe."""
    ensure_job(hook, transform_spec())
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=transform_spec().to_dict())
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("score-0123-1", ran=90)
    result = resume(sensor, deferral, {"status": "Completed"})
    assert json.loads(json.dumps(result)) == result
    assert result["job_name"] == sensor.job_name == "score-0123-1"
    assert (result["kind"], result["status"], result["attempt"]) == ("Transform", "Completed", 1)
    assert (result["instance_type"], result["instance_count"]) == ("ml.m5.large", 2)
    assert result["billed_seconds"] == pytest.approx(180, abs=0.01)
    assert result["ended_at"] - result["started_at"] == pytest.approx(90, abs=0.01)
    assert result["created_at"] <= result["ended_at"]
    assert result["model_name"] == "abalone-transform-0123456789"
    assert result["output_uri"] == "s3://bucket/run/score-0123-1/predictions/"
    assert result["output_uris"] == ["s3://bucket/run/score-0123-1/predictions/"]
    assert result["request"]["ModelClientConfig"]["InvocationsMaxRetries"] == 1
    assert "TransformJobStatus" not in result["request"]


def test_a_job_that_has_ended_already_needs_no_deferral(aws: FakeSageMaker, hook: SageMakerHook):
    """A retry after the job's end takes its result at once."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", ExitMessage="algo-1: 10 in, 1 rejected")
    sensor = processing_sensor()
    result = sensor.execute(context_of(sensor))
    assert (result["status"], result["exit_message"]) == ("Completed", "algo-1: 10 in, 1 rejected")


def test_a_failed_job_says_everything(aws: FakeSageMaker, hook: SageMakerHook, job_log: Any):
    """Reason, exit message, the last fifty lines of each stream, and what to do."""
    ensure_job(hook, processing_spec())
    group = "/aws/sagemaker/ProcessingJobs"
    job_log(group, "work-0123-1/algo-1-1", [f"line {number}" for number in range(-70, 50)])
    job_log(group, "work-0123-1/algo-2-1", ["ValueError: could not convert string to float: 'x'"])
    job_log(group, "work-0123-10/algo-1-1", ["of another job"])
    sensor = processing_sensor()
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM, ExitMessage="algo-2: column 3 is no number")
    with pytest.raises(JobFailedPermanently) as raised:
        resume(sensor, deferral, {"status": "Failed"})
    told = str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    # The log is more telling than "See job logs": the advice is the one for parsing.
    assert told.startswith(
        "SageMaker processing job work-0123-1 failed: algo-2: column 3 is no number\n"
        "What to do: A record could not be parsed."
    )
    assert f"FailureReason: {ALGORITHM}" in told
    assert told.count("algo-2: column 3 is no number") == 1
    assert "The last lines of /aws/sagemaker/ProcessingJobs, streams work-0123-1/…:\n    line 0\n" in told
    assert "… 49 times more" in told
    assert "could not convert string to float: 'x'" in told
    assert "of another job" not in told
    assert (raised.value.job_name, raised.value.status) == ("work-0123-1", "Failed")
    assert raised.value.headline == "The processing job failed: algo-2: column 3 is no number"
    assert raised.value.log_lines[-1] == "ValueError: could not convert string to float: 'x'"


def test_of_many_streams_those_that_end_differently_are_shown(
    aws: FakeSageMaker, hook: SageMakerHook, job_log: Any
):
    """Twenty-six hosts on two pages: one of those that only were stopped is as good as another."""
    ensure_job(hook, processing_spec())
    group = "/aws/sagemaker/ProcessingJobs"
    for number in range(60, 86):
        telling = (
            "ValueError: could not convert string to float" if number == 84 else f"host {number} was stopped"
        )
        job_log(group, f"work-0123-1/algo-{number}-1", [telling])
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    sensor = processing_sensor()
    with pytest.raises(JobFailedPermanently) as raised:
        sensor.execute(context_of(sensor))
    told = str(raised.value)
    assert "\n    host 60 was stopped\n    … 18 times more\n    ValueError: could not convert" in told
    assert "6 streams: work-0123-1/algo-79-1, work-0123-1/algo-80-1" in told
    assert raised.value.headline == "The processing job failed: ValueError: could not convert string to float"


def test_a_failure_that_may_pass_is_retried_as_the_next_attempt(aws: FakeSageMaker, hook: SageMakerHook):
    """The error lets Airflow retry the sensor; its next try starts attempt 2 and waits for that."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(retries=2)
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("work-0123-1", "Failed", FailureReason=INTERNAL)
    with pytest.raises(JobFailed) as raised:
        resume(sensor, deferral, {"status": "Failed"})
    assert not isinstance(raised.value, AirflowFailException)
    again = processing_sensor(retries=2)
    deferral = deferral_of(again, context_of(again, try_number=2))
    assert deferral.kwargs == {"job_name": "work-0123-2", "attempt": 2, "submit_retry": None}
    aws.end("work-0123-2")
    assert resume(again, deferral, {"status": "Completed"}, try_number=2)["attempt"] == 2


def test_clearing_the_sensor_alone_starts_a_new_attempt_after_a_told_failure(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """The person has read why; an automatic retry would not have run it again."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    sensor = processing_sensor(retries=2)
    with pytest.raises(JobFailedPermanently):
        sensor.execute(context_of(sensor))
    cleared = processing_sensor(retries=2)
    deferral = deferral_of(cleared, context_of(cleared, try_number=2, max_tries=3))
    assert deferral.kwargs["job_name"] == "work-0123-2"


@pytest.mark.parametrize("kind", ["Processing", "Transform"])
def test_stopped_is_a_failure(aws: FakeSageMaker, hook: SageMakerHook, kind: str):
    """Also for a transform, which the provider lets pass as success; it is not retried."""
    spec = processing_spec() if kind == "Processing" else transform_spec()
    sensor_type = ProcessingJobSensor if kind == "Processing" else TransformJobSensor
    name = ensure_job(hook, spec).name
    sensor = sensor_type(task_id="s", job_name=name, spec=spec.to_dict())
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end(name, "Stopped", ran=5)
    with pytest.raises(JobStopped, match=f"{name} was stopped: by somebody on AWS"):
        resume(sensor, deferral, {"status": "Stopped"})


def test_a_job_that_ran_for_as_long_as_it_may_is_not_run_again(aws: FakeSageMaker, hook: SageMakerHook):
    """It would take as long again. A transform has no limit on AWS, so this is its MaxRuntimeInSeconds."""
    ensure_job(hook, transform_spec())
    sensor = TransformJobSensor(
        task_id="t", job_name="x", spec=transform_spec().to_dict(), max_runtime_seconds=60, retries=1
    )
    deferral = deferral_of(sensor, context_of(sensor))
    with pytest.raises(JobRanTooLong, match="took longer than it may"):
        resume(sensor, deferral, {"status": "timeout", "message": RAN_TOO_LONG})
    assert aws.status("score-0123-1") == "Stopping"
    aws.end("score-0123-1", "Stopped")
    with pytest.raises(JobRanTooLong):
        sensor.execute(context_of(sensor, try_number=2))
    assert aws.count("CreateTransformJob") == 1
    cleared = context_of(sensor, try_number=3, max_tries=3)
    assert deferral_of(sensor, cleared).kwargs["job_name"] == "score-0123-2"


def test_a_job_that_failed_while_its_time_ran_out_says_its_own_reason(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """The event says timeout; AWS says Failed."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(max_runtime_seconds=60)
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(JobFailedPermanently, match="failed: "):
        resume(sensor, deferral, {"status": "timeout", "message": RAN_TOO_LONG})


def test_the_tasks_own_time_is_up_stops_the_job_and_may_be_retried(aws: FakeSageMaker, hook: SageMakerHook):
    """The trigger kept the task's deadline: the event says timeout, the job is on its way to Stopped."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(execution_timeout=datetime.timedelta(minutes=1), retries=1)
    deferral = deferral_of(sensor, context_of(sensor))
    with pytest.raises(JobTimedOut, match="its task timed out") as raised:
        resume(sensor, deferral, {"status": "timeout", "message": TIMED_OUT})
    assert not isinstance(raised.value, AirflowFailException)
    assert aws.status("work-0123-1") == "Stopping"
    aws.end("work-0123-1", "Stopped")
    again = processing_sensor(retries=1)
    assert deferral_of(again, context_of(again, try_number=2)).kwargs["job_name"] == "work-0123-2"


@pytest.mark.parametrize(
    ("next_method", "next_kwargs"),
    [
        (
            "execute_complete",
            {"job_name": "work-0123-1", "event": {"status": "timeout", "message": TIMED_OUT}},
        ),
        (TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}),
    ],
)
def test_before_3_1_1_a_retry_that_is_resumed_begins_anew(
    aws: FakeSageMaker,
    hook: SageMakerHook,
    monkeypatch: pytest.MonkeyPatch,
    next_method: str,
    next_kwargs: dict[str, Any],
):
    """Airflow gives it the event of the try before; the try that waits itself goes on with its event."""
    monkeypatch.setitem(AVAILABLE_SINCE, "retries begin with execute", (99,))
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(execution_timeout=datetime.timedelta(minutes=1), retries=1)
    first = context_of(sensor)
    deferral = deferral_of(sensor, first)
    with pytest.raises(JobTimedOut):
        sensor.resume_execution(
            deferral.method_name, {**deferral.kwargs, "event": {"status": "timeout"}}, first
        )
    aws.end("work-0123-1", "Stopped")
    second = context_of(sensor, try_number=2, xcoms=first["ti"].xcoms)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.resume_execution(next_method, next_kwargs, second)
    assert deferred.value.kwargs["job_name"] == "work-0123-2"
    aws.end("work-0123-2")
    kwargs = {**deferred.value.kwargs, "event": {"status": "Completed"}}
    assert sensor.resume_execution(deferred.value.method_name, kwargs, second)["status"] == "Completed"


def test_airflows_deferral_timeout_stops_the_job_and_may_be_retried(aws: FakeSageMaker, hook: SageMakerHook):
    """Airflow would raise AirflowSensorTimeout, which it never retries, and leave the job running."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(job_name="rendered anew")
    with pytest.raises(JobTimedOut) as raised:
        sensor.resume_execution(
            TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context_of(sensor)
        )
    assert not isinstance(raised.value, AirflowSensorTimeout | AirflowFailException)
    assert aws.status("work-0123-1") == "Stopping"


def test_a_job_that_completes_while_time_runs_out_is_not_thrown_away(aws: FakeSageMaker, hook: SageMakerHook):
    """What was paid for is used."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1")
    sensor = processing_sensor()
    result = sensor.resume_execution(
        TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context_of(sensor)
    )
    assert result["status"] == "Completed"


@pytest.mark.parametrize(("try_number", "status"), [(1, "InProgress"), (2, "Stopping")])
def test_a_broken_trigger_leaves_the_job_to_the_next_try(
    aws: FakeSageMaker, hook: SageMakerHook, try_number: int, status: str
):
    """And on the last try, when nobody would come for it, stops it."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(retries=1)
    context = context_of(sensor, try_number=try_number)
    failure = {"error": TriggerFailureReason.TRIGGER_FAILURE, "traceback": ["ImportError: no such trigger"]}
    with pytest.raises(WaitInterrupted):
        sensor.resume_execution(TRIGGER_FAIL_REPR, failure, context)
    assert aws.status("work-0123-1") == status


def test_limits_of_the_task_bound_the_wait(aws: FakeSageMaker, hook: SageMakerHook):
    """execution_timeout and the sensor's timeout, the earlier one."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(execution_timeout=datetime.timedelta(minutes=5), timeout=900)
    began = time.time()
    deferral = deferral_of(sensor, context_of(sensor))
    took = time.time() - began
    assert 299.99 <= deferral.trigger.serialize()[1]["deadline"] - began <= 300.01 + took
    # Airflow's own, a minute later, counts from the deferral.
    assert 359.99 - took <= deferral.timeout.total_seconds() <= 360.01


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_soft_fail_skips_as_in_the_providers_sensors(aws: FakeSageMaker, hook: SageMakerHook, option: str):
    """At the first look and after the wait alike."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(**{option: True})
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("work-0123-1", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(AirflowSkipException):
        resume(sensor, deferral, {"status": "Failed"})
    with pytest.raises(AirflowSkipException):
        processing_sensor(**{option: True}).execute(context_of(sensor))


def test_without_a_spec_the_named_job_is_waited_for(aws: FakeSageMaker, hook: SageMakerHook):
    """As the provider's sensor, for a job that something else has submitted."""
    ensure_job(hook, processing_spec())
    sensor = processing_sensor(spec=None)
    deferral = deferral_of(sensor, context_of(sensor))
    aws.end("work-0123-1")
    assert resume(sensor, deferral, {"status": "Completed"})["attempt"] is None
    missing = processing_sensor(spec=None, job_name="no-such-job")
    with pytest.raises(RequestError, match="AWS has no processing job 'no-such-job' in us-east-1"):
        missing.execute(context_of(missing))


@pytest.mark.parametrize(
    "spec", ["work-0123", {"kind": "Transform"}, {**processing_spec().to_dict(), "more": 1}]
)
def test_a_spec_that_is_none_is_explained(aws: FakeSageMaker, spec: Any):
    """Most likely the wrong XCom key."""
    sensor = processing_sensor(spec=spec)
    with pytest.raises(RequestError, match=r"Pass spec=<operator>\.output\['spec'\]"):
        sensor.execute(context_of(sensor))


def test_the_spec_of_the_other_kind_is_refused(aws: FakeSageMaker):
    """A sensor waits for its own kind of job."""
    sensor = processing_sensor(spec=transform_spec().to_dict())
    with pytest.raises(
        RequestError, match="spec is of a transform job, but this sensor waits for a processing job"
    ):
        sensor.execute(context_of(sensor))


def test_a_stop_limit_that_is_no_number_is_named(aws: FakeSageMaker, hook: SageMakerHook):
    """ "None" and an empty text are what a template renders for no limit; a word is a mistake."""
    ensure_job(hook, processing_spec())
    for value in (None, "", "None"):
        sensor = processing_sensor(max_runtime_seconds=value)
        assert deferral_of(sensor, context_of(sensor)).trigger.serialize()[1]["max_runtime_seconds"] is None
    sensor = processing_sensor(max_runtime_seconds="soon")
    with pytest.raises(RequestError, match="max_runtime_seconds is 'soon'"):
        sensor.execute(context_of(sensor))


def test_what_the_job_wrote_is_listed_with_its_digest(aws: FakeSageMaker, hook: SageMakerHook, moto_url: str):
    """A line of URI, size and ETag for each object, of this job alone; a second try hands on the same."""
    s3 = boto3.Session("x", "x", region_name="us-east-1").client("s3", endpoint_url=moto_url)
    s3.create_bucket(Bucket="bucket")
    for key in ("score-0123-1/predictions/a.csv.out", "score-0123-10/predictions/b.csv.out"):
        s3.put_object(Bucket="bucket", Key=f"run/{key}", Body=b"99.5\n")
    spec = transform_spec()
    ensure_job(hook, spec)
    aws.end("score-0123-1")
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict(), write_listing=True)
    listing = sensor.execute(context_of(sensor))["listing"]
    line = (
        b'["s3://bucket/run/score-0123-1/predictions/a.csv.out", 5, "%s"]\n'
        % hashlib.md5(b"99.5\n").hexdigest().encode()
    )
    assert listing == {
        "uri": "s3://bucket/run/score-0123-1/predictions-listing.jsonl",
        "sha256": hashlib.sha256(line).hexdigest(),
        "object_count": 1,
    }
    key = "run/score-0123-1/predictions-listing.jsonl"
    assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == line
    s3.put_object(Bucket="bucket", Key="run/score-0123-1/predictions/a.csv.out", Body=b"99.")
    assert sensor.execute(context_of(sensor))["listing"] == listing
    for item in s3.list_objects_v2(Bucket="bucket")["Contents"]:
        s3.delete_object(Bucket="bucket", Key=item["Key"])
