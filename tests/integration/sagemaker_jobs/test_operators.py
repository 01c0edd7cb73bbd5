"""Operators submit once, cast what templates rendered, and hand on what the sensor needs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)

from sagemaker_jobs.airflow_compat import AirflowTaskTimeout, TaskDeferred
from sagemaker_jobs.errors import JobFailedPermanently, RequestError
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.waiting.mixin import is_first_try_after_clear
from tests.integration.sagemaker_jobs.builders import context_of, processing_config, transform_config
from tests.integration.sagemaker_jobs.specs import processing_spec

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook")

PREPROCESS = "abalone-preprocess-0123456789"
TRANSFORM = "abalone-transform-0123456789"


def sent(aws: FakeSageMaker, operation: str) -> dict[str, Any]:
    """The only request of this operation."""
    requests = [request for called, request in aws.calls if called == operation]
    assert len(requests) == 1
    return requests[0]


@pytest.mark.parametrize("types", [("ml.m5.xlarge", "ml.c5.xlarge"), "ml.m5.xlarge ml.c5.xlarge", "", ()])
def test_instance_types_are_a_list_or_what_a_template_gives_parted_by_blanks(
    aws: FakeSageMaker, types: Any
) -> None:
    """Nothing stands for the request's own type alone."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), instance_types=types)
    context = context_of(operator)
    operator.execute(context)
    expected = ["ml.m5.xlarge", "ml.c5.xlarge"] if types else []
    assert context["ti"].xcoms["spec"]["instance_types"] == expected


def test_they_are_the_providers_operators(aws: FakeSageMaker):
    """isinstance against the provider's classes holds, and their arguments are taken."""
    processing = ProcessingJobOperator(
        task_id="p",
        config=processing_config(),
        wait_for_completion=True,
        print_log=True,
        check_interval=10,
        max_attempts=5,
        max_ingestion_time=3600,
        action_if_job_exists="fail",
        deferrable=True,
    )
    transform = TransformJobOperator(
        task_id="t",
        config=transform_config(),
        check_if_job_exists=True,
        check_if_model_exists=True,
        action_if_model_exists="timestamp",
        deferrable=False,
    )
    assert isinstance(processing, SageMakerProcessingOperator)
    assert isinstance(transform, SageMakerTransformOperator)
    assert (processing.max_runtime_seconds, processing.max_poll_seconds) == (3600, 10)
    assert (
        ProcessingJobOperator(task_id="q", config={}, max_attempts=5, check_interval=10).max_runtime_seconds
        == 50
    )
    assert transform.max_runtime_seconds is None


def test_text_that_should_be_a_number_is_sent_as_one(aws: FakeSageMaker):
    """Every integer of AWS's own model, ModelClientConfig included; values of Environment stay text."""
    transform = TransformJobOperator(task_id="t", config=transform_config())
    transform.execute(context_of(transform))
    request = sent(aws, "CreateTransformJob")
    assert request["TransformResources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    assert (request["MaxConcurrentTransforms"], request["MaxPayloadInMB"]) == (4, 5)
    assert request["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 600, "InvocationsMaxRetries": 1}
    processing = ProcessingJobOperator(task_id="p", config=processing_config())
    processing.execute(context_of(processing))
    request = sent(aws, "CreateProcessingJob")
    assert request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 30
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert request["Environment"] == {"WORKERS": "8"}


@pytest.mark.parametrize("value", ["", "None", "two", "1.5", None, [], True])
def test_what_is_no_number_is_named_before_anything_is_sent(aws: FakeSageMaker, value: Any):
    """The message has the field's path and the value."""
    config = transform_config(ModelClientConfig={"InvocationsTimeoutInSeconds": value})
    operator = TransformJobOperator(task_id="t", config=config)
    with pytest.raises(RequestError) as raised:
        operator.execute(context_of(operator))
    assert f"ModelClientConfig.InvocationsTimeoutInSeconds is {value!r}; allowed is a whole number" in str(
        raised.value
    )
    assert aws.calls == []


def test_the_xcom_is_the_providers_json_safe_and_with_the_spec(aws: FakeSageMaker):
    """The sensor gets the final name and the spec from XCom; "Rendered Templates" shows what was sent."""
    operator = TransformJobOperator(task_id="t", config=transform_config())
    context = context_of(operator)
    result = operator.execute(context)
    assert json.loads(json.dumps(result)) == result
    assert result["Transform"]["TransformJobName"] == f"{TRANSFORM}-1"
    assert result["Model"]["ModelName"] == TRANSFORM
    assert "ResponseMetadata" not in result["Transform"]
    assert result["spec"] == context["ti"].xcoms["spec"]
    assert result["spec"]["base_name"] == TRANSFORM
    shown = operator.config["Transform"]
    assert shown["TransformJobName"] == f"{TRANSFORM}-1"
    assert shown["TransformOutput"]["S3OutputPath"] == f"s3://bucket/run/{TRANSFORM}-1/predictions/"
    assert TransformJobOperator.overwrite_rtif_after_execution is True


def test_a_flat_transform_config_uses_the_model_that_exists(aws: FakeSageMaker):
    """As in the provider's operator; no model is made."""
    aws.models["kept"] = {"ModelName": "kept", "ModelArn": "arn:aws:sagemaker:us-east-1:1:model/kept"}
    config = {**transform_config()["Transform"], "ModelName": "kept"}
    operator = TransformJobOperator(task_id="t", config=config)
    result = operator.execute(context_of(operator))
    assert result["Transform"]["ModelName"] == "kept"
    assert aws.count("CreateModel") == 0
    assert operator.config["TransformJobName"] == f"{TRANSFORM}-1"


def test_a_retry_adopts_what_the_try_before_submitted(aws: FakeSageMaker):
    """The worker died after CreateJob: the retry renders the same name and pays nothing."""
    for try_number in (1, 2, 3):
        operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=3)
        result = operator.execute(context_of(operator, try_number=try_number))
        assert result["Processing"]["ProcessingJobName"] == f"{PREPROCESS}-1"
    assert aws.count("CreateProcessingJob") == 1


def test_the_first_try_after_a_clear_is_known(aws: FakeSageMaker):
    """max_tries stays over automatic retries and rises with a clear."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=2)
    first_tries = [
        (try_number, max_tries)
        for max_tries in (2, 4, 5)
        for try_number in range(1, max_tries + 2)
        if is_first_try_after_clear(context_of(operator, try_number=try_number, max_tries=max_tries))
    ]
    assert first_tries == [(3, 4), (4, 5)]


def test_what_still_runs_of_before_a_clear_is_stopped_first(aws: FakeSageMaker, hook: SageMakerHook):
    """Its names are told; the one that ended is left alone, and so is a name that there never was."""
    before = replace(processing_spec(), base_name="before")
    ensure_job(hook, before)
    aws.end("before-1", "Failed", FailureReason="InternalServerError: We encountered an internal error.")
    ensure_job(hook, before)
    operator = ProcessingJobOperator(
        task_id="p", config=processing_config("now"), replaces="never-was before before-the-first"
    )
    operator.execute(context_of(operator))
    assert {name: aws.status(name) for name in aws.jobs} == {
        "before-1": "Failed",
        "before-2": "Stopping",
        "now-1": "InProgress",
    }
    operations = [operation for operation, _ in aws.calls]
    assert operations.index("StopProcessingJob") < len(operations) - operations[::-1].index(
        "CreateProcessingJob"
    )
    assert "another job replaces it" in str(aws.tags)


def test_a_name_that_aws_would_refuse_is_made_acceptable(aws: FakeSageMaker):
    """A run id in a name has colons, plus signs and more characters than fit."""
    name = "abalone_nightly__manual__2026-01-01T00:00:00.000000+00:00_preprocess"
    operator = ProcessingJobOperator(task_id="p", config=processing_config(name))
    final = operator.execute(context_of(operator))["Processing"]["ProcessingJobName"]
    assert final.startswith("abalone-nightly-manual-2026-01-01T00-00-00-00000")
    assert final.endswith("-1")
    assert len(final) <= 63


def test_waiting_defers_without_a_worker_and_resumes_with_the_account(aws: FakeSageMaker):
    """wait_for_completion=True is the provider's, and always deferred."""
    operator = ProcessingJobOperator(
        task_id="p", config=processing_config(), wait_for_completion=True, deferrable=False
    )
    context = context_of(operator)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert deferred.value.trigger.serialize()[1]["job_name"] == f"{PREPROCESS}-1"
    aws.end(f"{PREPROCESS}-1", ExitMessage="algo-1: 10 in")
    resumed = ProcessingJobOperator(task_id="p", config=processing_config(), wait_for_completion=True)
    context = context_of(resumed, xcoms=context["ti"].xcoms)
    result = resumed.resume_execution(
        deferred.value.method_name, {**deferred.value.kwargs, "event": {"status": "Completed"}}, context
    )
    assert result["Processing"]["ExitMessage"] == "algo-1: 10 in"
    assert resumed.config["ProcessingJobName"] == f"{PREPROCESS}-1"


def test_a_job_that_failed_while_submitting_again_is_told_with_its_reason(aws: FakeSageMaker):
    """A retry of the operator does not start a second job after an algorithm error."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=1)
    operator.execute(context_of(operator))
    aws.end(f"{PREPROCESS}-1", "Failed", FailureReason="AlgorithmError: See job logs for more information")
    again = ProcessingJobOperator(task_id="p", config=processing_config(), retries=1)
    with pytest.raises(JobFailedPermanently, match="AlgorithmError: See job logs"):
        again.execute(context_of(again, try_number=2))


@pytest.mark.parametrize("now", ["failed", "skipped", "removed", "gone", None])
def test_a_killed_submitter_stops_what_it_submitted(aws: FakeSageMaker, now: str | None):
    """When nobody will look for the job: the task is marked failed, cleared, or gone with its run."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config())
    arn = operator.execute(context_of(operator, now=now))["Processing"]["ProcessingJobArn"]
    operator.on_kill()
    assert aws.status(f"{PREPROCESS}-1") == "Stopping"
    assert aws.tags[arn]["airflow:stopped-because"] == "its task was killed"


@pytest.mark.parametrize(
    "now", ["scheduled", "queued", "running", "deferred", "up_for_retry", "success", OSError("no answer")]
)
@pytest.mark.parametrize("submitted", [False, True])
def test_a_try_that_is_killed_late_leaves_the_job_to_the_next(
    aws: FakeSageMaker, now: str | Exception, submitted: bool
):
    """Its worker stalled; the next try has the same job for its own, and may have done with it."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=1)
    context = context_of(operator, now=now)
    if submitted:
        operator.execute(context)
        operator.on_kill()
    else:
        operator._ti = context["ti"]
        operator.on_kill()
        operator.execute(context)
    assert aws.status(f"{PREPROCESS}-1") == "InProgress"


def test_the_last_try_that_is_killed_with_its_worker_stops_the_job(aws: FakeSageMaker):
    """Its worker goes, and Airflow starts no other."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=1)
    operator.execute(context_of(operator, try_number=2, now="running"))
    operator.on_kill()
    assert aws.status(f"{PREPROCESS}-1") == "Stopping"


def test_a_submitter_whose_time_is_up_stops_its_job(aws: FakeSageMaker):
    """Airflow calls on_kill while it handles the timeout; the task is still running then."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config(), retries=1)
    operator.execute(context_of(operator, now="running"))
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        operator.on_kill()
    assert aws.status(f"{PREPROCESS}-1") == "Stopping"


def test_a_submitter_killed_before_it_knows_its_job_stops_it_afterwards(aws: FakeSageMaker):
    """The signal may come while CreateJob is on its way."""
    operator = ProcessingJobOperator(task_id="p", config=processing_config())
    operator.on_kill()
    assert aws.calls == []
    operator.execute(context_of(operator))
    assert aws.status(f"{PREPROCESS}-1") == "Stopping"


def test_the_providers_choices_for_a_taken_name_still_work(aws: FakeSageMaker):
    """ "fail" refuses a name that exists, "timestamp" makes another; "adopt" is the default."""
    first = ProcessingJobOperator(task_id="p", config=processing_config())
    first.execute(context_of(first))
    failing = ProcessingJobOperator(task_id="p", config=processing_config(), action_if_job_exists="fail")
    with pytest.raises(Exception, match=f"job with name {PREPROCESS}-1 already exists"):
        failing.execute(context_of(failing))
    stamping = ProcessingJobOperator(
        task_id="p", config=processing_config(), action_if_job_exists="timestamp"
    )
    stamping.execute(context_of(stamping))
    assert aws.count("CreateProcessingJob") == 2
    with pytest.raises(RequestError, match="allowed are 'adopt', 'timestamp', 'fail'"):
        ProcessingJobOperator(task_id="p", config={}, action_if_job_exists="ignore")


def test_output_files_are_read_of_a_job_that_was_waited_for(aws: FakeSageMaker, moto_url: str):
    """The provider's output_files_to_xcom; without waiting there is nothing to read yet."""
    files = [
        {"output_name": "output", "file_name": "m.json", "result_name": "Metrics"},
        {"output_name": "output", "file_name": "missing.json", "result_name": "More"},
    ]
    arguments = {"task_id": "p", "output_files_to_xcom": files}
    hasty = ProcessingJobOperator(**arguments, config=processing_config())
    with pytest.raises(RequestError, match="needs wait_for_completion=True"):
        hasty.execute(context_of(hasty))
    s3 = boto3.Session("x", "x", region_name="us-east-1").client("s3", endpoint_url=moto_url)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key=f"run/{PREPROCESS}-1/m.json", Body=b'{"mse": 1.5}')
    operator = ProcessingJobOperator(**arguments, config=processing_config(), wait_for_completion=True)
    context = context_of(operator)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    aws.end(f"{PREPROCESS}-1")
    kwargs = {**deferred.value.kwargs, "event": {"status": "Completed"}}
    result = operator.resume_execution(deferred.value.method_name, kwargs, context)
    assert result["OutputFiles"] == {
        "Metrics": {"mse": 1.5},
        "More": {"_error": f"s3://bucket/run/{PREPROCESS}-1/missing.json cannot be read: NoSuchKey"},
    }
    s3.delete_object(Bucket="bucket", Key=f"run/{PREPROCESS}-1/m.json")
