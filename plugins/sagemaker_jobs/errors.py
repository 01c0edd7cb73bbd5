"""What can go wrong with a job, drawn as a tree; what Airflow may retry is part of the type.

::

    SageMakerJobError
    ├── RequestError *         a value of the request is wrong: found before anything is sent
    ├── RequestRefused *       AWS said no to the request: the same request would be refused again
    ├── JobMismatch *          a job or model of this name exists, but is not what was asked for
    ├── SubmitFailed           AWS could not be reached or would not take the job now
    │   ├── QuotaExceeded      the account's quota is in use
    │   └── NotVisibleYet      AWS has the job or its model, and does not describe it yet
    ├── JobFailed              the job failed for a reason that may pass: the next try submits attempt n+1
    │   └── JobFailedForGood * the job failed for a reason that would make it fail again
    ├── JobTimedOut            the task's own time was up and the job was stopped: the next try submits attempt n+1
    │   └── JobRanTooLong *    the job ran for as long as it may: the same would take as long again
    ├── JobStopped *           somebody stopped the job on AWS, on purpose
    └── WaitInterrupted        waiting broke down while the job went on: the next try adopts it

\\* is an ``AirflowFailException`` too: Airflow fails the task at once, whatever ``retries`` says.
All of them survive pickling: Airflow carries exceptions across processes.
"""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class SageMakerJobError(AirflowException):
    """Base of this package's errors.

    Attributes:
        job_name: the job's final name; None where there is no job.
        status: how AWS said it ended.
        reason: name of the known cause, as in ``reasons.REASONS``.
    """

    def __init__(
        self,
        message: str,
        *,
        job_name: str | None = None,
        status: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.job_name = job_name
        self.status = status
        self.reason = reason


class RequestError(SageMakerJobError, AirflowFailException):
    """A value of the request is wrong; the message names the field, the value and what is allowed."""


class RequestRefused(SageMakerJobError, AirflowFailException):
    """AWS refused the request in a way that repeating it does not change."""


class JobMismatch(SageMakerJobError, AirflowFailException):
    """A job or model with the wanted name exists and differs from the request."""


class SubmitFailed(SageMakerJobError):
    """AWS could not be asked to run the job; trying again later may work."""


class QuotaExceeded(SubmitFailed):
    """The account's quota for these instances is in use."""


class NotVisibleYet(SubmitFailed):
    """AWS has the job, or its model, and does not describe it yet: not every part of AWS knows it at once."""


class JobFailed(SageMakerJobError):
    """The job ended as Failed for a reason that may pass."""


class JobFailedForGood(JobFailed, AirflowFailException):
    """The job ended as Failed for a reason that a second run would meet again."""


class JobTimedOut(SageMakerJobError):
    """The task's time to wait was up, and the job was stopped."""


class JobRanTooLong(JobTimedOut, AirflowFailException):
    """The job ran for as long as its request or its task allows, and was stopped."""


class JobStopped(SageMakerJobError, AirflowFailException):
    """Somebody stopped the job on AWS: it is not started again against their will."""


class WaitInterrupted(SageMakerJobError):
    """The wait for the job broke down, the job itself did not: the next try finds it again."""
