"""The one idempotent ``ensure_job`` that operator and sensor share."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.attempts import request_of
from sagemaker_jobs.aws import call, client_of, error_code, is_transient, says_absent, says_exists
from sagemaker_jobs.continuing import NothingMore, Settled, failed_for_good
from sagemaker_jobs.errors import NotVisibleYet, QuotaExceeded, RequestRefused, SubmitFailed
from sagemaker_jobs.jobs import Job, describe_job, failure_of, stop_job
from sagemaker_jobs.kinds import RUNNING
from sagemaker_jobs.matching import check_job, check_model
from sagemaker_jobs.reasons import reason_of
from sagemaker_jobs.tags import REPORTED_TAG, STOPPED_TAG, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.continuing import Continuation
    from sagemaker_jobs.resuming import Remainder
    from sagemaker_jobs.spec import JobSpec

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 99  # a name has room for two digits


def ensure_job(
    hook: SageMakerHook,
    spec: JobSpec,
    *,
    asked_again: bool = False,
    continuation: Continuation | None = None,
) -> Job:
    """The job that does what ``spec`` says: the one in progress, the completed one, or a new attempt.

    Walks the attempts from the first: a job that runs or is completed is adopted if it matches the request,
    one that failed makes room for the next attempt. Safe to call any number of times, from anywhere, at the
    same time: a job is created under a name that AWS gives out once.

    ``asked_again`` says that a person cleared the task, which permits an attempt after a failure that is not
    retried by itself, and beyond ``max_attempts``. It applies only to a failure that has been reported
    before, so a new job that fails at once is still reported and not run twice.

    ``continuation`` is asked what follows an attempt that failed for good: it may name objects for a further
    attempt, or take the work for done, in which case the failed job comes back as ``settled``.

    Raises JobMismatch, RequestRefused, QuotaExceeded, SubmitFailed; or, when no further attempt is due, what
    ``explain`` says about the last one.
    """
    earlier: list[Job] = []
    for found in attempts_of(hook, spec):
        if found.status == "Completed" or (
            found.status in RUNNING and not _is_being_stopped_by_us(hook, found)
        ):
            check_job(spec, found)
            log.info("Found %s %s, %s: no second job is started.", spec.kind.noun, found.name, found.status)
            return found
        earlier.append(found)
    if len(earlier) == MOST_ATTEMPTS:
        raise RequestRefused(
            f"{spec.base_name} has had {MOST_ATTEMPTS} attempts; clear the submitting task for a new name."
        )
    follows = None
    if earlier and continuation is not None and failed_for_good(earlier[-1]):
        follows = continuation.after(hook, spec, earlier)
    if isinstance(follows, Settled):
        return replace(earlier[-1], settled=follows.account)
    if follows is None or isinstance(follows, NothingMore):
        if earlier:
            because = "" if follows is None else follows.because
            _permit_another(hook, spec, earlier, asked_again=asked_again, because=because)
        return submit(hook, spec, earlier)
    log.warning("%s\nStarting attempt %d.", failure_of(hook, earlier[-1]), len(earlier) + 1)
    return submit(hook, spec, earlier, follows)


def attempts_of(hook: SageMakerHook, spec: JobSpec) -> Iterator[Job]:
    """The attempts that exist, in order."""
    for attempt in range(1, MOST_ATTEMPTS + 1):
        found = describe_job(hook, spec.kind, spec.job_name(attempt), attempt=attempt)
        if found is None:
            return
        yield found


def stop_attempts(hook: SageMakerHook, spec: JobSpec, *, because: str) -> list[str]:
    """Stop the attempts of ``spec`` that run; their names.

    Also the one after the last that AWS describes, which it may have taken a moment ago.
    """
    names = [each.name for each in attempts_of(hook, spec)]
    if len(names) < MOST_ATTEMPTS:
        names.append(spec.job_name(len(names) + 1))
    return [name for name in names if stop_job(hook, spec.kind, name, because=because)]


def submit(
    hook: SageMakerHook, spec: JobSpec, earlier: Sequence[Job], remainder: Remainder | None = None
) -> Job:
    """Create the attempt after ``earlier``, and its model; or find it created by somebody else.

    "Somebody else" is also this very call, when its answer was lost on the way.
    """
    attempt = len(earlier) + 1
    name = spec.job_name(attempt)
    if spec.model is not None:
        ensure_model(hook, spec.model)
    refusal: Exception | None = None
    try:
        call(getattr(client_of(hook), spec.kind.create), request_of(hook, spec, earlier, remainder))
    except (ClientError, BotoCoreError, OSError) as error:
        # ResourceInUse also answers botocore's own repetition of a call whose first answer was lost on the
        # way, and a broken connection says nothing about whether the job exists: only Describe knows.
        if not says_exists(error) and not is_transient(error):
            raise _refusal(spec, name, error) from error
        refusal = error
    created = describe_job(hook, spec.kind, name, attempt=attempt)
    if created is not None:
        check_job(spec, created)
        how = "Submitted" if refusal is None else "Creating it did not succeed, yet it exists:"
        log.info("%s %s %s.", how, spec.kind.noun, name)
        return created
    if refusal is not None and not says_exists(refusal):
        raise _refusal(spec, name, refusal) from refusal
    raise NotVisibleYet(
        f"AWS has {spec.kind.noun} {name}, and does not describe it yet: {refusal or 'it was accepted'}",
        job_name=name,
    ) from refusal


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
        may_exist = says_exists(error) or error_code(error) == "ValidationException"
        if not may_exist and not is_transient(error):
            raise RequestRefused(f"AWS refused to create model {name}: {error}") from error
        try:
            found = call(client_of(hook).describe_model, {"ModelName": name})
        except ClientError as absent:
            if not says_absent(absent):
                raise
            if says_exists(error):
                raise NotVisibleYet(f"AWS has model {name}, and does not describe it yet: {error}") from error
            wrong = SubmitFailed if is_transient(error) else RequestRefused
            raise wrong(f"AWS did not create model {name}: {error}") from error
        check_model(request, found)
        log.info("Found model %s: it is used.", name)
    else:
        log.info("Created model %s.", name)


def _permit_another(
    hook: SageMakerHook, spec: JobSpec, earlier: Sequence[Job], *, asked_again: bool, because: str
) -> None:
    """Return if another attempt may follow the last of ``earlier``, else raise why that one ended.

    Attempts that never got an instance cost nothing and do not count against ``max_attempts``; those that
    failed for good did not fail by chance, so they do not either. ``because`` says why nobody goes on.
    """
    last = earlier[-1]
    if asked_again and REPORTED_TAG in tags_of(hook, last.arn):
        log.info("%s ended as %s; the task was cleared, so it is tried again.", last.name, last.status)
        return
    error = failure_of(hook, last, because=because)
    billed = sum(spec.kind.started_field in job.description and not failed_for_good(job) for job in earlier)
    if isinstance(error, AirflowFailException) or billed >= spec.max_attempts:
        raise error
    log.warning("%s\nStarting attempt %d.", error, len(earlier) + 1)


def _is_being_stopped_by_us(hook: SageMakerHook, job: Job) -> bool:
    return job.status == "Stopping" and STOPPED_TAG in tags_of(hook, job.arn)


def _refusal(spec: JobSpec, name: str, error: Exception) -> Exception:
    """What to raise when AWS did not take a job."""
    text = f"AWS did not take {spec.kind.noun} {name}: {error}"
    reason = reason_of(str(error))
    advice = f"\nWhat to do: {reason.advice}" if reason.name != "unknown" else ""
    if error_code(error) == "ResourceLimitExceeded":
        fits = QuotaExceeded if _could_ever_fit(str(error)) else RequestRefused
        return fits(f"{text}{advice}", job_name=name)
    if is_transient(error):
        return SubmitFailed(f"{text}{advice}", job_name=name)
    if spec.model is not None and "Could not find model" in str(error):
        # It was created, or found, a moment ago.
        return NotVisibleYet(text, job_name=name)
    return RequestRefused(f"{text}{advice}", job_name=name)


def _could_ever_fit(message: str) -> bool:
    """Whether waiting can help: not if the request alone is larger than the quota, as with a quota of 0."""
    found = re.search(r"is (\d+) Instances.*request delta of (\d+) Instances", message, re.DOTALL)
    return found is None or int(found[2]) <= int(found[1])
