"""Find, start and stop jobs: the one idempotent ``ensure_job`` that operator and sensor share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, error_code, is_transient, says_absent
from sagemaker_jobs.errors import QuotaExceeded, RequestRefused, SubmitFailed
from sagemaker_jobs.kinds import ENDED, RUNNING, JobKind
from sagemaker_jobs.matching import check_job, check_model
from sagemaker_jobs.outcome import explain
from sagemaker_jobs.reasons import advice_for, reason_of
from sagemaker_jobs.tags import REPORTED_TAG, STOPPED_TAG, tags_of, try_to_tag

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.spec import JobSpec

log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 99  # a name has room for two digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as AWS describes it; ``attempt`` is None for a job that was only named, not specified."""

    kind: JobKind
    name: str
    description: dict[str, Any]
    attempt: int | None = None

    @property
    def status(self) -> str:
        """InProgress, Completed, Failed, Stopping or Stopped."""
        return str(self.description[self.kind.status_field])

    @property
    def arn(self) -> str:
        """The job's ARN."""
        return str(self.description[self.kind.arn_field])

    @property
    def ended(self) -> bool:
        """Whether nothing runs or is billed any more."""
        return self.status in ENDED


def describe_job(hook: SageMakerHook, kind: JobKind, name: str, *, attempt: int | None = None) -> Job | None:
    """The job named ``name``, or None where AWS knows none.

    Survives throttling, 5xx and broken connections.
    """
    try:
        found = call(getattr(client_of(hook), kind.describe), {kind.name_field: name})
    except ClientError as error:
        if says_absent(error):
            return None
        raise
    return Job(kind=kind, name=name, description=found, attempt=attempt)


def ensure_job(hook: SageMakerHook, spec: JobSpec, *, asked_again: bool = False) -> Job:
    """The job that does what ``spec`` says: the one in progress, the completed one, or a new attempt.

    Walks the attempts from the first: a job that runs or is completed is adopted if it matches the request,
    one that failed makes room for the next attempt. Safe to call any number of times, from anywhere, at the
    same time: a job is created under a name that AWS gives out once.

    ``asked_again`` says that a person cleared the task, which permits an attempt after a failure that is not
    retried by itself, and beyond ``max_attempts``. It applies only to a failure that has been reported
    before, so a new job that fails at once is still reported and not run twice.

    Raises JobMismatch, RequestRefused, QuotaExceeded, SubmitFailed; or, when no further attempt is due, what
    ``explain`` says about the last one.
    """
    previous: Job | None = None
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        found = describe_job(hook, spec.kind, spec.job_name(attempt), attempt=attempt)
        if found is None:
            if previous is not None:
                _permit_another(hook, spec, previous, asked_again=asked_again)
            return submit(hook, spec, attempt, previous)
        if found.status == "Completed" or (
            found.status in RUNNING and not _is_being_stopped_by_us(hook, found)
        ):
            check_job(spec, found, previous)
            log.info("Found %s %s, %s: no second job is started.", spec.kind.noun, found.name, found.status)
            return found
        previous = found
    raise RequestRefused(
        f"{spec.base_name} has had {_MOST_ATTEMPTS} attempts; clear the submitting task for a new name."
    )


def find_latest(hook: SageMakerHook, spec: JobSpec) -> Job | None:
    """The newest attempt that exists, whatever its state; None before the first."""
    latest: Job | None = None
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        found = describe_job(hook, spec.kind, spec.job_name(attempt), attempt=attempt)
        if found is None:
            break
        latest = found
    return latest


def submit(hook: SageMakerHook, spec: JobSpec, attempt: int, previous: Job | None = None) -> Job:
    """Create attempt ``attempt`` (and its model), or find it created by somebody else or by a lost answer."""
    if spec.model is not None:
        ensure_model(hook, spec.model)
    request = request_of(hook, spec, attempt, previous)
    name = spec.job_name(attempt)
    try:
        call(getattr(client_of(hook), spec.kind.create), request)
    except (ClientError, BotoCoreError, OSError) as error:
        # ResourceInUse also answers botocore's own repetition of a call whose first answer was lost on the
        # way, and a broken connection says nothing about whether the job exists: only Describe knows.
        if error_code(error) != "ResourceInUse" and not is_transient(error):
            raise _refusal(spec.kind, name, error) from error
        created = describe_job(hook, spec.kind, name, attempt=attempt)
        if created is None:
            raise _refusal(spec.kind, name, error) from error
        check_job(spec, created, previous)
        log.info(
            "%s %s exists although creating it did not succeed: it is used.",
            spec.kind.noun.capitalize(),
            name,
        )
        return created
    log.info("Submitted %s %s.", spec.kind.noun, name)
    created = describe_job(hook, spec.kind, name, attempt=attempt)
    if created is None:
        raise SubmitFailed(
            f"{spec.kind.noun} {name} was accepted, but AWS does not know it yet.", job_name=name
        )
    return created


def request_of(hook: SageMakerHook, spec: JobSpec, attempt: int, previous: Job | None) -> dict[str, Any]:  # noqa: ARG001 - see below
    """The request of attempt ``attempt``, given the one before."""
    return spec.request_for(attempt)


def ensure_model(hook: SageMakerHook, request: dict[str, Any]) -> None:
    """Create the model unless one of this name with the same content exists.

    Raises JobMismatch if it differs.
    """
    name = request["ModelName"]
    try:
        call(client_of(hook).create_model, request)
    except (ClientError, BotoCoreError, OSError) as error:
        # A name that is taken is a ValidationException ("Cannot create already existing model"), and so is a
        # wrong request: Describe tells them apart, and a lost answer from a lost call.
        if error_code(error) not in {"ValidationException", "ResourceInUse"} and not is_transient(error):
            raise RequestRefused(f"AWS refused to create model {name}: {error}") from error
        try:
            found = call(client_of(hook).describe_model, {"ModelName": name})
        except ClientError as absent:
            if not says_absent(absent):
                raise
            wrong = SubmitFailed if is_transient(error) else RequestRefused
            raise wrong(f"AWS did not create model {name}: {error}") from error
        check_model(request, found)
        log.info("Found model %s: it is used.", name)
    else:
        log.info("Created model %s.", name)


def stop_job(hook: SageMakerHook, kind: JobKind, name: str, *, because: str) -> bool:
    """Stop the job if it runs, after tagging it with ``because``; whether it ran.

    The tag tells this stop from one by a person, which is respected. Idempotent, and a job that ended
    meanwhile is fine.
    """
    found = describe_job(hook, kind, name)
    if found is None or found.status != "InProgress":
        return False
    try_to_tag(hook, found.arn, {STOPPED_TAG: because})
    try:
        call(getattr(client_of(hook), kind.stop), {kind.name_field: name})
    except ClientError as error:
        if not says_absent(error):
            raise
        log.info("%s %s ended before it could be stopped: %s", kind.noun.capitalize(), name, error)
        return False
    log.warning("Stopped %s %s: %s.", kind.noun, name, because)
    return True


def failure_of(hook: SageMakerHook, job: Job, tags: dict[str, str] | None = None) -> Exception:
    """The exception for a job that ended badly; also marks the job as reported, see ``ensure_job``.

    ``tags`` are what is known of the job's tags although AWS may not have taken them.
    """
    error = explain(hook, job.kind, job.name, job.description, {**tags_of(hook, job.arn), **(tags or {})})
    try_to_tag(hook, job.arn, {REPORTED_TAG: "true"})
    return error


def _permit_another(hook: SageMakerHook, spec: JobSpec, previous: Job, *, asked_again: bool) -> None:
    """Return if another attempt may follow ``previous``, else raise why it ended."""
    tags = tags_of(hook, previous.arn)
    if asked_again and REPORTED_TAG in tags:
        log.info(
            "%s ended as %s; the task was cleared, so it is tried again.", previous.name, previous.status
        )
        return
    error = failure_of(hook, previous)
    if not isinstance(error, AirflowFailException) and (previous.attempt or 0) < spec.max_attempts:
        log.warning("%s\nStarting attempt %d.", error, (previous.attempt or 0) + 1)
        return
    raise error


def _is_being_stopped_by_us(hook: SageMakerHook, job: Job) -> bool:
    return job.status == "Stopping" and STOPPED_TAG in tags_of(hook, job.arn)


def _refusal(kind: JobKind, name: str, error: Exception) -> Exception:
    """What to raise when AWS did not take a job."""
    code = error_code(error)
    text = f"AWS did not take {kind.noun} {name}: {error}"
    reason = reason_of(str(error))
    if code == "ResourceLimitExceeded":
        return QuotaExceeded(f"{text}\nWhat to do: {advice_for(reason, [])}", job_name=name)
    if is_transient(error):
        return SubmitFailed(text, job_name=name)
    advice = f"\nWhat to do: {reason.advice}" if reason.name != "unknown" else ""
    return RequestRefused(f"{text}{advice}", job_name=name)
