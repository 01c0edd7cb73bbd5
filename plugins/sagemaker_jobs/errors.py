"""The package's errors; the type decides whether Airflow retries the task.

::

    SageMakerJobError
    ├── RequestError *         a value of the request is wrong: found before anything is sent
    ├── RequestRefused *       AWS refused the request and would refuse it again
    ├── JobMismatch *          a job or model of this name exists, but differs from the request
    ├── SubmitFailed           AWS could not be reached or does not accept the job now
    │   ├── QuotaExceeded      the account's quota is in use
    │   └── NotVisibleYet      AWS has the job or its model, and does not describe it yet
    ├── JobFailed              the job failed for a transient reason: the next try submits attempt n+1
    │   └── JobFailedPermanently *  the job failed for a reason that would make it fail again
    ├── JobTimedOut            the task timed out and the job was stopped: the next try submits attempt n+1
    │   └── JobRanTooLong *    the job reached its time limit and would reach it again
    ├── JobStopped *           a person stopped the job on AWS
    └── WaitInterrupted        the wait failed while the job runs on: the next try adopts it

\\* is also an ``AirflowFailException``: Airflow fails the task at once, whatever ``retries`` says.
All of them can be pickled: Airflow carries exceptions across processes.
"""

from __future__ import annotations

from sagemaker_jobs.airflow_compat import AirflowException, AirflowFailException


class SageMakerJobError(AirflowException):
    """Base of this package's errors. `str()` has the message, with the advice after its first line.

    Attributes:
        headline: one sentence: what failed and why; by default the first line of the message.
        advice: what to do; None where the message says it.
        job_name: the job's final name; None where there is no job.
        status: how AWS said it ended.
        reason: name of the known cause, as in ``reasons.REASONS``.
        exit_message: what a processing job wrote as its last words; None for all others.
        log_group: of the job's logs in CloudWatch Logs.
        log_lines: the last lines of its containers, each repetition once.
    """

    def __init__(
        self,
        message: str,
        *,
        headline: str | None = None,
        advice: str | None = None,
        job_name: str | None = None,
        status: str | None = None,
        reason: str | None = None,
        exit_message: str | None = None,
        log_group: str | None = None,
        log_lines: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.headline = headline or message.split("\n", 1)[0]
        self.advice = advice
        self.job_name = job_name
        self.status = status
        self.reason = reason
        self.exit_message = exit_message
        self.log_group = log_group
        self.log_lines = log_lines

    def __str__(self) -> str:
        first, newline, rest = str(self.args[0]).partition("\n")
        return first + (f"\nWhat to do: {self.advice}" if self.advice else "") + newline + rest


class RequestError(SageMakerJobError, AirflowFailException):
    """A value of the request is wrong; the message names the field, the value and what is allowed."""


class RequestRefused(SageMakerJobError, AirflowFailException):
    """AWS refused the request and would refuse it again."""


class JobMismatch(SageMakerJobError, AirflowFailException):
    """A job or model with the wanted name exists and differs from the request."""


class SubmitFailed(SageMakerJobError):
    """AWS could not be reached or does not accept the job now; a later try may succeed."""


class QuotaExceeded(SubmitFailed):
    """The account's quota for these instances is in use."""


class NotVisibleYet(SubmitFailed):
    """AWS has accepted the job or its model, but Describe does not return it yet (eventual consistency)."""


class JobFailed(SageMakerJobError):
    """The job ended as Failed for a transient reason."""


class JobFailedPermanently(JobFailed, AirflowFailException):
    """The job ended as Failed for a reason that would make it fail again."""


class JobTimedOut(SageMakerJobError):
    """The task timed out, and the job was stopped."""


class JobRanTooLong(JobTimedOut, AirflowFailException):
    """The job reached the time limit of its request or its task, and was stopped."""


class JobStopped(SageMakerJobError, AirflowFailException):
    """A person stopped the job on AWS: it is not started again automatically."""


class WaitInterrupted(SageMakerJobError):
    """The wait for the job failed while the job runs on: the next try adopts it."""
