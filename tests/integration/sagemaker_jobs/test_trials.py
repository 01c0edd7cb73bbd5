"""A first attempt with other settings: adopted like any, and without it the work is done by the request as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_jobs.airflow_compat import TaskDeferred
from sagemaker_jobs.errors import JobFailed, JobFailedPermanently, JobMismatch
from sagemaker_jobs.failure.messages import RAN_TOO_LONG
from sagemaker_jobs.job.describe import stop_job
from sagemaker_jobs.job.spec import JobSpec, Trial
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.sensors import TransformJobSensor
from sagemaker_jobs.tags import STOPPED_TAG
from tests.integration.sagemaker_jobs.builders import context_of
from tests.integration.sagemaker_jobs.fake_sagemaker import quota_message
from tests.integration.sagemaker_jobs.specs import transform_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook")

ALGORITHM = "AlgorithmError: See job logs for more information"
TRIED = {"MaxConcurrentTransforms": 8, "TransformResources": {"InstanceType": "ml.c5.xlarge"}}
TRIAL = Trial(request=TRIED, max_runtime_seconds=300, max_provisioning_seconds=400)


def settings_of(aws: FakeSageMaker, name: str) -> tuple[Any, ...]:
    job: Mapping[str, Any] = aws.jobs[name]
    resources = job["TransformResources"]
    return (
        job["MaxConcurrentTransforms"],
        job["MaxPayloadInMB"],
        resources["InstanceType"],
        resources["InstanceCount"],
    )


TRIED_SETTINGS, USUAL_SETTINGS = (8, 5, "ml.c5.xlarge", 2), (4, 5, "ml.m5.large", 2)


def await_trial(spec: JobSpec) -> TransformJobSensor:
    return TransformJobSensor(
        task_id="await_trial", job_name="score-0123-1", spec=spec.to_dict(), max_runtime_seconds=3600
    )


def test_the_first_attempt_tries_and_is_found_again(aws: FakeSageMaker, hook: SageMakerHook):
    """A spec survives XCom with its trial; what neither it nor the trial asked for is a mismatch."""
    spec = JobSpec.from_dict(transform_spec(trial=TRIAL).to_dict())
    assert spec == transform_spec(trial=TRIAL)
    name = ensure_job(hook, spec).name
    assert settings_of(aws, name) == TRIED_SETTINGS
    assert ensure_job(hook, spec).name == name
    aws.end(name)
    result = await_trial(spec).execute(context_of(await_trial(spec)))
    assert (result["is_trial"], result["request"]["MaxConcurrentTransforms"]) == (True, 8)
    aws.jobs[name]["MaxConcurrentTransforms"] = 9
    with pytest.raises(JobMismatch, match="MaxConcurrentTransforms is 9, requested was 4"):
        ensure_job(hook, spec)


@pytest.mark.parametrize("ending", ["Failed", "Stopped", "capacity"])
def test_after_a_trial_the_work_is_done_as_usual(aws: FakeSageMaker, hook: SageMakerHook, ending: str):
    """However it ended, and in the same try: all of the input, on the usual type, with every attempt left."""
    spec = transform_spec(trial=TRIAL, max_attempts=1, resume=True)
    sensor = await_trial(spec)
    context = context_of(sensor)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    limits = deferred.value.trigger
    assert (limits.max_runtime_seconds, limits.max_provisioning_seconds) == (300, 400)
    reason = {"FailureReason": "CapacityError: Unable to provision"} if ending == "capacity" else {}
    status = "Stopped" if ending == "Stopped" else "Failed"
    aws.end("score-0123-1", status, **({"FailureReason": ALGORITHM} | reason if status == "Failed" else {}))
    kwargs = {**(deferred.value.kwargs or {}), "event": {"status": status}}
    with pytest.raises(TaskDeferred) as deferred:
        sensor.resume_execution("execute_complete", kwargs, context)
    limits = deferred.value.trigger
    assert (limits.max_runtime_seconds, limits.max_provisioning_seconds) == (3600, None)
    assert settings_of(aws, "score-0123-2") == USUAL_SETTINGS
    aws.end("score-0123-2", ran=30)
    result = sensor.execute(context)
    assert (result["is_trial"], result["job_name"]) == (False, "score-0123-2")
    assert [each["billed_seconds"] for each in result["earlier_attempts"]] == [pytest.approx(120)]
    assert result["output_uris"] == ["s3://bucket/run/score-0123-2/predictions/"]
    # The usual settings fail as they do without a trial.
    aws.end("score-0123-2", "Failed", FailureReason=ALGORITHM)
    with pytest.raises(JobFailedPermanently):
        sensor.execute(context)


def test_after_a_trial_that_airflow_stopped_no_job_follows_in_that_try(
    aws: FakeSageMaker, hook: SageMakerHook
):
    """As of any job that is not wanted any more: a further attempt would outlive its run. The next try starts one."""
    sensor = await_trial(transform_spec(trial=TRIAL))
    context = context_of(sensor)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    stop_job(hook, TRANSFORM, "score-0123-1", because="its run is over")
    aws.end("score-0123-1", "Stopped")
    with pytest.raises(JobFailed, match="Stopped by Airflow: its run is over"):
        sensor.resume_execution("execute_complete", {**(deferred.value.kwargs or {}), "event": {}}, context)
    assert list(aws.jobs) == ["score-0123-1"]
    assert ensure_job(hook, transform_spec(trial=TRIAL)).name == "score-0123-2"
    assert settings_of(aws, "score-0123-2") == USUAL_SETTINGS


def test_a_trial_that_hangs_is_stopped_at_its_own_limit(aws: FakeSageMaker, hook: SageMakerHook):
    """The next attempt does not wait until AWS has stopped it."""
    sensor = await_trial(transform_spec(trial=TRIAL))
    context = context_of(sensor)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    event = {"status": "timeout", "message": RAN_TOO_LONG}
    with pytest.raises(TaskDeferred):
        sensor.resume_execution(
            "execute_complete", {**(deferred.value.kwargs or {}), "event": event}, context
        )
    assert aws.status("score-0123-1") == "Stopping"
    assert aws.tags[aws.jobs["score-0123-1"]["TransformJobArn"]][STOPPED_TAG] == RAN_TOO_LONG
    assert settings_of(aws, "score-0123-2") == USUAL_SETTINGS


@pytest.mark.parametrize("code", ["ResourceLimitExceeded", "ValidationException"])
def test_nobody_waits_for_what_a_trial_does_not_get(aws: FakeSageMaker, hook: SageMakerHook, code: str):
    """Neither a quota in use nor a type that AWS refuses delays the run; the job is not taken for the trial."""
    spec = transform_spec(trial=TRIAL)
    message = quota_message(2, in_use=2, wanted=2) if "Limit" in code else "no such type"
    aws.refuse("CreateTransformJob", code, message)
    name = ensure_job(hook, spec).name
    assert (name, settings_of(aws, name)) == ("score-0123-1", USUAL_SETTINGS)
    aws.end(name)
    assert not await_trial(spec).execute(context_of(await_trial(spec)))["is_trial"]
