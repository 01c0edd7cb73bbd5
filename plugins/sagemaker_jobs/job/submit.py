"""Finds a spec's job or submits its next attempt, idempotently; shared by operator and sensor."""

from __future__ import annotations

import itertools
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.airflow_compat import AirflowFailException
from sagemaker_jobs.aws import (
    call_with_retries,
    get_client,
    get_error_code,
    is_already_exists_error,
    is_not_found_error,
    is_transient_error,
)
from sagemaker_jobs.errors import NotVisibleYet, QuotaExceeded, RequestRefused, SubmitFailed
from sagemaker_jobs.failure.messages import RAN_TOO_LONG
from sagemaker_jobs.failure.reasons import classify_failure_reason
from sagemaker_jobs.job.compare import check_job, check_model, is_trial
from sagemaker_jobs.job.continuation import NoFurtherAttempt, Resolved, is_permanent_failure
from sagemaker_jobs.job.describe import Job, build_reported_error, describe_job, stop_job
from sagemaker_jobs.job.resume import prepare_resumed_input
from sagemaker_jobs.kinds import RUNNING_STATUSES
from sagemaker_jobs.tags import REPORTED_TAG, STOPPED_TAG, read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.continuation import Continuation
    from sagemaker_jobs.job.resume import RemainingInput
    from sagemaker_jobs.job.spec import JobSpec

log = logging.getLogger(__name__)

MAX_ATTEMPT_NUMBER = 99  # a job name has room for two digits


def ensure_job(
    hook: SageMakerHook,
    spec: JobSpec,
    *,
    task_was_cleared: bool = False,
    continuation: Continuation | None = None,
) -> Job:
    """The job for ``spec``: the one in progress, the completed one, or a new attempt.

    Walks the attempts from the first: a job that runs or has completed is adopted if it matches the request; after one
    that failed comes the next attempt, and after a trial always, unless Airflow stopped it for another reason than its
    time limit. Safe to call repeatedly and concurrently: AWS accepts each job name only once.

    ``task_was_cleared`` means that a person cleared the task. That permits an attempt after a failure that is not
    retried automatically, and beyond ``max_attempts``. It applies only to a failure that was reported before, so a new
    job that fails at once is reported and not run twice.

    ``continuation`` decides what follows an attempt that failed permanently: a further attempt on the objects that it
    names, or none because the work is done; then the failed job is returned with its ``resolution``.

    Raises JobMismatch, RequestRefused, QuotaExceeded, SubmitFailed; or, when no further attempt is due, the error that
    ``build_job_error`` returns for the last one.
    """
    earlier_jobs: list[Job] = []
    for found in list_attempts(hook, spec):
        if found.status == "Completed" or (
            found.status in RUNNING_STATUSES and not _is_being_stopped_by_us(hook, found)
        ):
            check_job(spec, found)
            log.info("Found %s %s (%s): no second job is started.", spec.kind.noun, found.name, found.status)
            return found
        earlier_jobs.append(found)
    if len(earlier_jobs) == MAX_ATTEMPT_NUMBER:
        raise RequestRefused(
            f"{spec.base_name} has had {MAX_ATTEMPT_NUMBER} attempts; clear the submitting task for a new name."
        )
    if earlier_jobs and is_given_up_trial(hook, spec, earlier_jobs[-1]):
        log.warning(
            "%s: %s The trial is over, its work is done without it.",
            earlier_jobs[-1].name,
            build_reported_error(hook, earlier_jobs[-1]).headline,
        )
        return submit_attempt(hook, spec, earlier_jobs)
    decision = None
    if earlier_jobs and continuation is not None and is_permanent_failure(earlier_jobs[-1]):
        decision = continuation.decide_next(hook, spec, earlier_jobs)
    if isinstance(decision, Resolved):
        return replace(earlier_jobs[-1], resolution=decision.details)
    if decision is None or isinstance(decision, NoFurtherAttempt):
        if earlier_jobs:
            _check_further_attempt(hook, spec, earlier_jobs, task_was_cleared, decision)
        return submit_attempt(hook, spec, earlier_jobs)
    error = build_reported_error(hook, earlier_jobs[-1])
    log.warning("%s: %s Starting attempt %d.", error.job_name, error.headline, len(earlier_jobs) + 1)
    return submit_attempt(hook, spec, earlier_jobs, decision)


def is_given_up_trial(hook: SageMakerHook, spec: JobSpec, job: Job) -> bool:
    """Whether ``job``, which has ended or is being stopped, was a trial whose work is now done without it.

    One that Airflow stopped, as its task was killed or its run is over, ends as any job.
    """
    return is_trial(spec, job) and read_tags(hook, job.arn).get(STOPPED_TAG, RAN_TOO_LONG) == RAN_TOO_LONG


def list_attempts(hook: SageMakerHook, spec: JobSpec) -> Iterator[Job]:
    """The attempts that exist, in order."""
    for attempt in range(1, MAX_ATTEMPT_NUMBER + 1):
        found = describe_job(hook, spec.kind, spec.build_job_name(attempt), attempt=attempt)
        if found is None:
            return
        yield found


def list_earlier_attempts(hook: SageMakerHook, spec: JobSpec, job: Job) -> list[Job]:
    """The attempts before ``job``."""
    last = (job.attempt or 1) - 1
    return list(itertools.islice(list_attempts(hook, spec), last))


def stop_attempts(hook: SageMakerHook, spec: JobSpec, *, because: str) -> list[str]:
    """Stop the running attempts of ``spec``; their names.

    Includes the one after the last that AWS describes: AWS may have accepted it a moment ago.
    """
    names = [each.name for each in list_attempts(hook, spec)]
    if len(names) < MAX_ATTEMPT_NUMBER:
        names.append(spec.build_job_name(len(names) + 1))
    return [name for name in names if stop_job(hook, spec.kind, name, because=because)]


def submit_attempt(
    hook: SageMakerHook,
    spec: JobSpec,
    earlier_jobs: Sequence[Job],
    remaining_input: RemainingInput | None = None,
) -> Job:
    """Create the attempt after ``earlier_jobs``, and its model; or adopt it if it already exists.

    It may exist because another task created it, or because the response to this very call was lost.
    """
    attempt = len(earlier_jobs) + 1
    name = spec.build_job_name(attempt)
    if spec.model is not None:
        ensure_model(hook, spec.model)
    submit_error: Exception | None = None
    create = getattr(get_client(hook), spec.kind.create_method)
    try:
        if spec.trial is None or earlier_jobs or not _create_trial(create, spec, name):
            call_with_retries(create, build_attempt_request(hook, spec, earlier_jobs, remaining_input))
    except (ClientError, BotoCoreError, OSError) as error:
        # botocore's own retry of a call whose response was lost also gets ResourceInUse, and a broken connection
        # does not show whether the job exists: only Describe does.
        if not is_already_exists_error(error) and not is_transient_error(error):
            raise _build_submit_error(spec, name, error) from error
        submit_error = error
    created = describe_job(hook, spec.kind, name, attempt=attempt)
    if created is not None:
        check_job(spec, created)
        how = "Submitted" if submit_error is None else "The create call failed, but the job exists:"
        log.info("%s %s %s.", how, spec.kind.noun, name)
        return created
    if submit_error is not None and not is_already_exists_error(submit_error):
        raise _build_submit_error(spec, name, submit_error) from submit_error
    raise NotVisibleYet(
        f"AWS has {spec.kind.noun} {name}, and does not describe it yet: {submit_error or 'it was accepted'}",
        job_name=name,
    ) from submit_error


def _create_trial(create: Any, spec: JobSpec, name: str) -> bool:
    """Create the first attempt with what is tried; whether AWS accepted it.

    Nobody waits for a quota or for capacity on behalf of a trial.
    """
    try:
        call_with_retries(create, spec.build_trial_request())
    except ClientError as error:
        if is_already_exists_error(error) or is_transient_error(error):
            raise
        log.warning("AWS did not accept the trial %s, its work is done without it: %s", name, error)
        return False
    return True


def build_attempt_request(
    hook: SageMakerHook,
    spec: JobSpec,
    earlier_jobs: Sequence[Job],
    remaining_input: RemainingInput | None = None,
) -> dict[str, Any]:
    """The request of the attempt after ``earlier_jobs``, which is empty for the first attempt.

    Its input is ``remaining_input`` if given, else what the earlier attempts left. Writes the manifest of a resumed
    transform to S3.
    """
    request = spec.build_request(len(earlier_jobs) + 1)
    if earlier_jobs:
        instance_type = choose_retry_instance_type(spec, earlier_jobs)
        if instance_type is not None:
            spec.kind.get_cluster_config(request)["InstanceType"] = instance_type
        remaining_input = remaining_input or prepare_resumed_input(hook, spec, earlier_jobs)
        if remaining_input is not None:
            request["TransformInput"]["DataSource"] = remaining_input.data_source
            resources = spec.kind.get_cluster_config(request)
            resources["InstanceCount"] = min(resources["InstanceCount"], remaining_input.max_instance_count)
    return request


def choose_retry_instance_type(spec: JobSpec, earlier_jobs: Sequence[Job]) -> str | None:
    """The instance type of the attempt after ``earlier_jobs``.

    After a capacity error the next type of the spec's list, starting over after the last; otherwise the type of the
    last attempt. None if the request has none.
    """
    requested_type = spec.kind.get_cluster_config(spec.request).get("InstanceType")
    if requested_type is None:
        return None
    if is_trial(spec, earlier_jobs[-1]):
        return str(requested_type)
    last = earlier_jobs[-1].description
    used_type = str(spec.kind.get_cluster_config(last).get("InstanceType", requested_type))
    if classify_failure_reason(last.get("FailureReason")).name != "capacity":
        return used_type
    types = list_instance_types(spec)
    return types[(types.index(used_type) + 1) % len(types)] if used_type in types else str(requested_type)


def list_instance_types(spec: JobSpec) -> list[str]:
    """The instance types that attempts of ``spec`` may use, in the order in which they are tried."""
    requested_type = spec.kind.get_cluster_config(spec.request).get("InstanceType")
    return list(dict.fromkeys([*([str(requested_type)] if requested_type else []), *spec.instance_types]))


def ensure_model(hook: SageMakerHook, request: dict[str, Any]) -> None:
    """Create the model unless one of this name with the same content exists.

    Raises JobMismatch if it differs.
    """
    name = request["ModelName"]
    try:
        call_with_retries(get_client(hook).create_model, request)
    except (ClientError, BotoCoreError, OSError) as error:
        # A taken name is a ValidationException ("Cannot create already existing model"), and so is a wrong request:
        # Describe distinguishes them, and also a lost response from a lost call.
        may_exist = is_already_exists_error(error) or get_error_code(error) == "ValidationException"
        if not may_exist and not is_transient_error(error):
            raise RequestRefused(f"AWS refused to create model {name}: {error}") from error
        try:
            found = call_with_retries(get_client(hook).describe_model, {"ModelName": name})
        except ClientError as absent:
            if not is_not_found_error(absent):
                raise
            if is_already_exists_error(error):
                raise NotVisibleYet(f"AWS has model {name}, and does not describe it yet: {error}") from error
            wrong = SubmitFailed if is_transient_error(error) else RequestRefused
            raise wrong(f"AWS did not create model {name}: {error}") from error
        check_model(request, found)
        log.info("Found model %s: it is used.", name)
    else:
        log.info("Created model %s.", name)


def _check_further_attempt(
    hook: SageMakerHook,
    spec: JobSpec,
    earlier_jobs: Sequence[Job],
    task_was_cleared: bool,
    decision: NoFurtherAttempt | None,
) -> None:
    """Return if another attempt may follow the last of ``earlier_jobs``, else raise that job's error.

    Attempts that never got an instance cost nothing and do not count towards ``max_attempts``; nor do permanent
    failures, which are not due to chance, and a trial. ``decision`` is the continuation's, with its reason.
    """
    last = earlier_jobs[-1]
    if task_was_cleared and REPORTED_TAG in read_tags(hook, last.arn):
        log.info("%s ended as %s; the task was cleared, so a new attempt starts.", last.name, last.status)
        return
    error = build_reported_error(hook, last, because="" if decision is None else decision.because)
    if decision is not None and decision.advice is not None:
        error.advice = decision.advice
    had_instances = [
        job for job in earlier_jobs if spec.kind.started_field in job.description and not is_trial(spec, job)
    ]
    billed = sum(not is_permanent_failure(job) for job in had_instances)
    if isinstance(error, AirflowFailException) or billed >= spec.max_attempts:
        raise error
    log.warning("%s: %s Starting attempt %d.", error.job_name, error.headline, len(earlier_jobs) + 1)


def _is_being_stopped_by_us(hook: SageMakerHook, job: Job) -> bool:
    return job.status == "Stopping" and STOPPED_TAG in read_tags(hook, job.arn)


def _build_submit_error(spec: JobSpec, name: str, error: Exception) -> Exception:
    """The error for a job that AWS did not accept."""
    text = f"AWS did not accept {spec.kind.noun} {name}: {error}"
    reason = classify_failure_reason(str(error))
    advice = reason.advice if reason.name != "unknown" else None
    if get_error_code(error) == "ResourceLimitExceeded":
        fits = QuotaExceeded if _fits_quota(str(error)) else RequestRefused
        return fits(text, advice=advice, job_name=name)
    if is_transient_error(error):
        return SubmitFailed(text, advice=advice, job_name=name)
    if spec.model is not None and "Could not find model" in str(error):
        # It was created, or found, a moment ago.
        return NotVisibleYet(text, job_name=name)
    return RequestRefused(text, advice=advice, job_name=name)


def _fits_quota(message: str) -> bool:
    """Whether waiting can help: not if the request alone exceeds the quota, as with a quota of 0."""
    found = re.search(r"is (\d+) Instances.*request delta of (\d+) Instances", message, re.DOTALL)
    return found is None or int(found[2]) <= int(found[1])
