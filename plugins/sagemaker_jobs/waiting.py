"""Deferring until a job has ended, and what follows: shared by operators that wait and by sensors."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.utils.mixins import AwsBaseHookMixin
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

from sagemaker_jobs.casting import optional_number
from sagemaker_jobs.errors import JobTimedOut, WaitInterrupted
from sagemaker_jobs.jobs import Job, describe_job, failure_of, find_latest, stop_job
from sagemaker_jobs.kinds import JobKind
from sagemaker_jobs.links import persist_links
from sagemaker_jobs.outcome import TIMED_OUT
from sagemaker_jobs.tags import STOPPED_TAG
from sagemaker_jobs.triggers import SageMakerJobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sagemaker_jobs.spec import JobSpec

# The trigger stops the job at the deadline; Airflow's own timeout is for a triggerer that is not there to do
# it.
_BACKSTOP_SECONDS = 60.0
# Before instances are ready nothing is billed, and stop_after_seconds does not count; but not for ever.
_PROVISIONING_SECONDS = 3600.0
KILLED = "its task was killed"


class WaitsForJob(AwsBaseHookMixin[SageMakerHook]):
    """Mixin: ``wait_for(job)`` defers until the job has ended; ``job_done`` is called with a completed one.

    Expects the AWS attributes of the provider's operators and sensors. The job is stopped, and an error
    raised that Airflow may retry, when ``stop_after_seconds`` of billed time, ``execution_timeout``
    or the sensor's ``timeout`` has passed.
    """

    job_kind: JobKind
    stop_after_seconds: float | str | None
    first_poll_seconds: float
    max_poll_seconds: float
    job_in_hand: str | None = None
    # Of the operator or sensor beside which this mixin stands.
    log: Any
    execution_timeout: datetime.timedelta | None

    def job_done(self, context: Context, job: Job) -> Any:
        """What the task returns for a completed job."""
        raise NotImplementedError

    def spec_in_use(self, context: Context) -> JobSpec | None:
        """The spec behind the job, where there is one: it finds the job when its name is not at hand."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Stop the job when the worker is killed, or times out, in the moments before or after the wait."""
        if self.job_in_hand is not None:
            stop_job(self.hook, self.job_kind, self.job_in_hand, because=KILLED)

    def wait_for(self, context: Context, job: Job) -> Any:
        """Return ``job_done`` if the job has ended well, raise if badly, else defer until it has ended."""
        persist_links(context, self, self.hook, self.job_kind, job.name)
        if job.ended:
            return self._finish(context, job)
        created_at = job.description["CreationTime"].timestamp()
        stop_after = optional_number(self.stop_after_seconds, "stop_after_seconds")
        deadline = self._deadline()
        self.defer(  # type: ignore[attr-defined]  # of BaseOperator, beside which this mixin stands
            trigger=SageMakerJobTrigger(
                kind=self.job_kind.name,
                job_name=job.name,
                created_at=created_at,
                stop_after_seconds=stop_after,
                deadline=deadline,
                first_poll_seconds=self.first_poll_seconds,
                max_poll_seconds=self.max_poll_seconds,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            kwargs={"job_name": job.name, "attempt": job.attempt},
            timeout=_backstop(created_at, stop_after, deadline),
        )
        return None

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        job_name: str | None = None,
        attempt: int | None = None,
    ) -> Any:
        """Resume after the trigger: ask AWS how the job is, whatever the event says, and act on that."""
        event = event or {}
        name = self.job_in_hand = job_name or str(event.get("job_name"))
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise WaitInterrupted(f"AWS knows no {self.job_kind.noun} {name} any more.", job_name=name)
        if event.get("status") == "timeout" and not job.ended:
            return self._time_out(context, name, attempt)
        if not job.ended:
            raise self._interrupted(context, name, str(event.get("message")))
        return self._finish(context, job)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume at ``wait_failed`` where Airflow would raise an error that it never retries.

        Airflow turns a sensor's deferral timeout into AirflowSensorTimeout, which ends the task whatever
        ``retries``.
        """
        if next_method == TRIGGER_FAIL_REPR:
            next_method, next_kwargs = "wait_failed", {"failure": next_kwargs or {}}
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's

    def wait_failed(self, context: Context, failure: dict[str, Any]) -> Any:
        """Resume after Airflow ended the wait: stop the job if time was up, else leave it to the next try."""
        for line in failure.get("traceback") or []:
            self.log.error(line)
        cause = failure.get("error", "Unknown")
        name, attempt = self._current_job(context)
        if cause == TriggerFailureReason.TRIGGER_TIMEOUT:
            return self._time_out(context, name, attempt)
        raise self._interrupted(context, name, str(cause))

    def _finish(self, context: Context, job: Job) -> Any:
        if job.status == "Completed":
            self.log.info("%s %s completed.", self.job_kind.noun.capitalize(), job.name)
            return self.job_done(context, job)
        raise failure_of(self.hook, job)

    def _time_out(self, context: Context, name: str | None, attempt: int | None) -> Any:
        """Stop the job and raise JobTimedOut with what its logs say.

        A job that made it just in time is done.
        """
        if name is None:
            raise JobTimedOut("Time was up, and no job was found to stop.")
        stop_job(self.hook, self.job_kind, name, because=TIMED_OUT)
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise JobTimedOut(f"Time was up for {name}, which AWS does not know.", job_name=name)
        if job.status == "Completed":
            return self._finish(context, job)
        raise failure_of(self.hook, job, {STOPPED_TAG: TIMED_OUT})

    def _interrupted(self, context: Context, name: str | None, cause: str) -> WaitInterrupted:
        """The error for a broken wait; when no try is left to adopt the job, the job is stopped first."""
        ti: Any = context["ti"]
        if name is not None and ti.try_number > ti.max_tries:
            stop_job(self.hook, self.job_kind, name, because="waiting for it broke down on the last try")
            return WaitInterrupted(
                f"Waiting for {name} broke down and it was stopped: {cause}", job_name=name
            )
        return WaitInterrupted(f"Waiting for {name} broke down, the job goes on: {cause}", job_name=name)

    def _current_job(self, context: Context) -> tuple[str | None, int | None]:
        spec = self.spec_in_use(context)
        if spec is None:
            return getattr(self, "job_name", None), None
        latest = find_latest(self.hook, spec)
        return (None, None) if latest is None else (latest.name, latest.attempt)

    def _deadline(self) -> float | None:
        """Epoch seconds at which this wait must end: ``execution_timeout`` or the sensor's ``timeout``."""
        limits = [] if self.execution_timeout is None else [self.execution_timeout.total_seconds()]
        sensor_timeout = getattr(self, "timeout", None)
        if isinstance(sensor_timeout, int | float):
            limits.append(float(sensor_timeout))
        return time.time() + min(limits) if limits else None


def _backstop(
    created_at: float, stop_after: float | None, deadline: float | None
) -> datetime.timedelta | None:
    """When Airflow itself ends the wait: later than the trigger would, which may not be there to do it."""
    now = time.time()
    limits = [] if deadline is None else [deadline - now]
    if stop_after is not None:
        limits.append(created_at + _PROVISIONING_SECONDS + stop_after - now)
    return datetime.timedelta(seconds=max(1.0, min(limits)) + _BACKSTOP_SECONDS) if limits else None
