"""Submitting with patience, deferring until a job has ended, and what follows: for operators and sensors."""

from __future__ import annotations

import datetime
import random
import sys
import time
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.utils.mixins import AwsBaseHookMixin
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, BaseOperatorMeta, TriggerFailureReason
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowTaskTimeout

from sagemaker_jobs.attempts import types_of
from sagemaker_jobs.casting import optional_number
from sagemaker_jobs.continuing import failed_for_good
from sagemaker_jobs.ensuring import attempts_of, ensure_job
from sagemaker_jobs.errors import (
    JobTimedOut,
    NotVisibleYet,
    SageMakerJobError,
    SubmitFailed,
    WaitInterrupted,
)
from sagemaker_jobs.jobs import Job, describe_job, failure_of, stop_job
from sagemaker_jobs.lineage import lineage_of
from sagemaker_jobs.links import persist_links
from sagemaker_jobs.outcome import TIMED_OUT
from sagemaker_jobs.progress import objects_to_do
from sagemaker_jobs.tags import STOPPED_TAG, tags_of
from sagemaker_jobs.triggers import SageMakerJobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sagemaker_jobs.continuing import Continuation
    from sagemaker_jobs.kinds import JobKind
    from sagemaker_jobs.spec import JobSpec

# The trigger stops the job at its limits; Airflow's own timeout is for a triggerer that is not there to do
# it.
_BACKSTOP_SECONDS = 60.0
# Before instances are ready nothing is billed, and stop_after_seconds does not count; but not for ever.
_PROVISIONING_SECONDS = 3600.0
# States of a task that has, or has had, a try after the one that is being killed, which takes its job for its own.
_GOES_ON = frozenset({"scheduled", "queued", "deferred", "up_for_retry", "up_for_reschedule", "success"})
_LONGEST_PAUSE_SECONDS = 600.0
# A job that AWS has taken is described by all of AWS within a minute or so, however short the patience for room.
_VISIBLE_WITHIN_SECONDS = 300.0
_VISIBLE_PAUSE_SECONDS = 15.0
KILLED = "its task was killed"
TEMPLATE_FIELDS = ("stop_after_seconds", "room_patience_seconds")


class Trouble(TypedDict):
    """For how long AWS has had no room for the job: since when (epoch seconds), and pauses made so far.

    `unseen_since`: since when AWS has the job, after any time without room, and does not describe it.
    """

    since: float
    pauses: int
    unseen_since: NotRequired[float]


class WaitsForJob(AwsBaseHookMixin[SageMakerHook], metaclass=BaseOperatorMeta):
    """Mixin: ``begin`` makes sure of the job, ``wait_for`` defers until it has ended, ``job_done`` returns.

    Where AWS has no room, because a quota is in use or instances of the type are out, or does not take the job
    because it throttles, fails or refuses the credentials, the task is deferred and tries again with growing pauses
    for ``room_patience_seconds``; and for some minutes where AWS has the job and does not describe it yet. The job is
    stopped when ``execution_timeout`` or the sensor's ``timeout`` has passed, with an error that Airflow may retry,
    and after ``stop_after_seconds`` of billed time, with one that it does not: the same job would take as long.

    It has the metaclass of operators, so that ``default_args`` and ``partial`` know its constructor's arguments.

    :param stop_after_seconds: how long the job may be billed for; None for ever (templated).
    :param first_poll_seconds: pause after the first look; at least twice ``[workers] min_heartbeat_interval``.
    :param max_poll_seconds: what the pause grows to.
    :param room_patience_seconds: how long to try again while AWS has no room or does not take the job (templated).
    :param continuation: decides what follows a transform that failed for good; the operator, which needs
        ``resume``, and the sensor take the same one.
    """

    job_kind: JobKind
    first_pause_seconds: float = 30.0
    _ended: Job | None = None
    _ended_spec: JobSpec | None = None
    job_in_hand: str | None = None
    _ti: Any = None
    # Of the operator or sensor beside which this mixin stands.
    log: Any
    execution_timeout: datetime.timedelta | None

    def __init__(
        self,
        *,
        stop_after_seconds: float | str | None = None,
        first_poll_seconds: float = 2,
        max_poll_seconds: float = 30,
        room_patience_seconds: float | str | None = 3600,
        continuation: Continuation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stop_after_seconds = stop_after_seconds
        self.first_poll_seconds = first_poll_seconds
        self.max_poll_seconds = max_poll_seconds
        self.room_patience_seconds = room_patience_seconds
        self.continuation = continuation

    def spec_in_use(self, context: Context) -> JobSpec | None:
        """The spec behind the job; None for a job that is only named."""
        raise NotImplementedError

    def take(self, context: Context, job: Job, trouble: Trouble | None) -> Any:
        """What to do with the job that was found or started."""
        return self.wait_for(context, job, trouble)

    def job_done(self, context: Context, job: Job) -> Any:
        """What the task returns for a completed job."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Stop the job when the task is killed, or times out, in the moments before or after the wait.

        Not when Airflow goes on with the task: then this try alone is ended, because its worker goes or because it
        came to after the next try had begun, and that one has the same job.
        """
        if self._is_job_unwanted() and self.job_in_hand is not None:
            stop_job(self.hook, self.job_kind, self.job_in_hand, because=KILLED)

    def _is_job_unwanted(self) -> bool:
        """Whether no other try of the task will look for the job of this one, which is being killed."""
        if isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            return True
        ti = self._ti
        if ti is None:
            return True
        try:
            index = None if ti.map_index is None or ti.map_index < 0 else ti.map_index
            found = ti.get_task_states(
                dag_id=ti.dag_id, map_index=index, task_ids=[ti.task_id], run_ids=[ti.run_id]
            )
        except Exception:
            self.log.exception("The task's state is unknown, so its job is left to clean_up or the janitor.")
            return False
        state = next(iter(found.get(ti.run_id, {}).values()), None)
        if state == "running":
            return bool(ti.try_number > ti.max_tries)
        return state not in _GOES_ON

    def begin(
        self, context: Context, spec: JobSpec, trouble: Trouble | None = None, *, go_on: bool = False
    ) -> Any:
        """Find or start the job, with patience while AWS has no room, and ``take`` it.

        ``go_on`` says that one of this asking has ended already, so that nobody has asked for the next.
        """
        self._ended_spec = spec
        try:
            job = ensure_job(
                self.hook,
                spec,
                asked_again=not go_on and asked_again(context),
                continuation=self.continuation,
            )
        except SubmitFailed as error:
            return self._wait_for_room(context, spec, error, trouble)
        self.job_in_hand = job.name
        return self.take(context, job, trouble)

    def begin_again(self, context: Context, event: Any = None, trouble: Trouble | None = None) -> Any:  # noqa: ARG002 - the timer's
        """Resume after a pause."""
        spec = self.spec_in_use(context)
        if spec is None:
            raise WaitInterrupted("The spec of the job is gone from XCom; the next try makes it anew.")
        return self.begin(context, spec, trouble)

    def wait_for(self, context: Context, job: Job, trouble: Trouble | None = None) -> Any:
        """Return ``job_done`` if the job has ended well, raise if badly, else defer until it has ended."""
        persist_links(context, self, self.hook, self.job_kind, job.name)
        if job.ended:
            return self._finish(context, job, trouble)
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
                output_uri=next(iter(job.kind.output_uris(job.description)), None),
                objects=objects_to_do(self.hook, job),
                first_poll_seconds=max(self.first_poll_seconds, _worker_is_gone_seconds()),
                max_poll_seconds=self.max_poll_seconds,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            kwargs={"job_name": job.name, "attempt": job.attempt, "trouble": trouble},
            timeout=_backstop(created_at, stop_after, deadline),
        )
        return None

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        job_name: str | None = None,
        attempt: int | None = None,
        trouble: Trouble | None = None,
    ) -> Any:
        """Resume after the trigger: ask AWS how the job is, whatever the event says, and act on that."""
        event = event or {}
        name = self.job_in_hand = job_name or str(event.get("job_name"))
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise WaitInterrupted(f"AWS knows no {self.job_kind.noun} {name} any more.", job_name=name)
        if event.get("status") == "timeout":
            return self._time_out(context, name, attempt, str(event.get("message") or TIMED_OUT))
        if not job.ended:
            raise self._interrupted(context, name, str(event.get("message")))
        return self._finish(context, job, trouble)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume at ``wait_failed`` where Airflow would raise an error that it never retries.

        Airflow turns a sensor's deferral timeout into AirflowSensorTimeout, which ends the task whatever
        ``retries``.
        """
        self._ti = context["ti"]
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

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - OpenLineage's
        """What the job that this task saw complete has read and written."""
        return lineage_of(self.hook, self._ended, self._ended_spec, completed=True)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:  # noqa: ARG002 - OpenLineage's
        """What the job that this task saw end badly has read, and why it ended."""
        job = self._ended
        if job is None and self._ended_spec is not None:
            # It had failed before this try, which raised that instead of waiting.
            job = next(reversed(list(attempts_of(self.hook, self._ended_spec))), None)
        return lineage_of(self.hook, job, self._ended_spec, completed=False)

    def _finish(self, context: Context, job: Job, trouble: Trouble | None = None) -> Any:
        self._ended, self._ended_spec = job, self.spec_in_use(context)
        if job.status == "Completed":
            self.log.info("%s %s completed.", self.job_kind.noun.capitalize(), job.name)
            return self.job_done(context, job)
        if job.settled is not None:
            self.log.warning("%s failed, and what it left is accounted for: %s", job.name, job.settled)
            return self.job_done(context, job)
        error = failure_of(self.hook, job)
        spec = self._ended_spec
        if self.continuation is not None and spec is not None and failed_for_good(job):
            return self.begin(context, spec, trouble, go_on=True)
        if error.reason == "capacity" and spec is not None:
            return self._wait_for_room(context, spec, error, trouble)
        raise error

    def _wait_for_room(
        self, context: Context, spec: JobSpec, error: SageMakerJobError, trouble: Trouble | None
    ) -> Any:
        """Try again: at once while there is an instance type not tried yet, else after a pause; or raise."""
        now = time.time()
        trouble = trouble or Trouble(since=now, pauses=0)
        if isinstance(error, NotVisibleYet):
            # However long there was no room for it: it is taken now.
            unseen_since = trouble.get("unseen_since", now)
            pause = max(min(self.first_pause_seconds, _VISIBLE_PAUSE_SECONDS), now - unseen_since)
            return self._pause(
                error, pause, until=unseen_since + _VISIBLE_WITHIN_SECONDS,
                trouble=Trouble(**{**trouble, "unseen_since": unseen_since}),
            )  # fmt: skip
        next_time = Trouble(since=trouble["since"], pauses=trouble["pauses"] + 1)
        if error.reason == "capacity" and next_time["pauses"] < len(types_of(spec)):
            self.log.warning("%s\nTrying the next instance type.", error)
            return self.begin(context, spec, next_time)
        patience = optional_number(self.room_patience_seconds, "room_patience_seconds") or 0.0
        pause = min(self.first_pause_seconds * 2.0 ** trouble["pauses"], _LONGEST_PAUSE_SECONDS)
        return self._pause(error, pause, until=trouble["since"] + patience, trouble=next_time)

    def _pause(self, error: SageMakerJobError, pause: float, *, until: float, trouble: Trouble) -> Any:
        """Begin again after about so many seconds, unless that is too late: then raise."""
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
        if time.time() + pause > until:
            raise error
        self.log.warning("%s\nTrying again in %.0f s, without holding a worker.", error, pause)
        self.defer(  # type: ignore[attr-defined]  # of BaseOperator, beside which this mixin stands
            trigger=TimeDeltaTrigger(datetime.timedelta(seconds=pause)),
            method_name="begin_again",
            kwargs={"trouble": trouble},
        )
        return None

    def _time_out(
        self, context: Context, name: str | None, attempt: int | None, because: str = TIMED_OUT
    ) -> Any:
        """Stop the job and raise JobTimedOut, or JobRanTooLong, with what its logs say.

        A job that made it just in time, or failed by itself meanwhile, is not timed out.
        """
        if name is None:
            raise JobTimedOut("Time was up, and no job was found to stop.")
        stop_job(self.hook, self.job_kind, name, because=because)
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise JobTimedOut(f"Time was up for {name}, which AWS does not know.", job_name=name)
        if job.status in {"Completed", "Failed"}:
            return self._finish(context, job)
        self._ended, self._ended_spec = job, self.spec_in_use(context)
        # A stop that was marked keeps its mark: it may have come before this one.
        raise failure_of(self.hook, job, {STOPPED_TAG: because, **tags_of(self.hook, job.arn)})

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
        existing = list(attempts_of(self.hook, spec))
        return (existing[-1].name, existing[-1].attempt) if existing else (None, None)

    def _deadline(self) -> float | None:
        """Epoch seconds at which this wait must end: ``execution_timeout`` or the sensor's ``timeout``."""
        limits = [] if self.execution_timeout is None else [self.execution_timeout.total_seconds()]
        sensor_timeout = getattr(self, "timeout", None)
        if isinstance(sensor_timeout, int | float):
            limits.append(float(sensor_timeout))
        return time.time() + min(limits) if limits else None


def asked_again(context: Context) -> bool:
    """Whether this is the first try after a person cleared the task.

    ``max_tries`` stays the same over automatic retries and rises when a task is cleared, so the first try of
    each asking is ``max_tries - retries + 1``.
    """
    ti: Any = context["ti"]
    first_try = ti.max_tries - (ti.task.retries or 0) + 1
    return bool(ti.try_number == first_try and first_try > 1)


def _worker_is_gone_seconds() -> float:
    """How long after a deferral the scheduler surely knows that the worker has ended.

    It knows late when the task's process closes its sockets a moment before it is gone: then its supervisor waits
    for ``min_heartbeat_interval`` before it looks again. A task that an event has resumed meanwhile is taken for
    killed, which costs a try and its ``retry_delay`` (apache/airflow#67287, #71580, #72716).
    """
    return 2.0 * float(conf.getint("workers", "min_heartbeat_interval"))


def _backstop(
    created_at: float, stop_after: float | None, deadline: float | None
) -> datetime.timedelta | None:
    """When Airflow itself ends the wait: later than the trigger would, which may not be there to do it."""
    now = time.time()
    limits = [] if deadline is None else [deadline - now]
    if stop_after is not None:
        limits.append(created_at + _PROVISIONING_SECONDS + stop_after - now)
    return datetime.timedelta(seconds=max(1.0, min(limits)) + _BACKSTOP_SECONDS) if limits else None
