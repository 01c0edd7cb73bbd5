"""Mixin of operators and sensors: submits a job with retries, defers until it has ended, and handles the outcome."""

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

from sagemaker_jobs.airflow_compat import AirflowTaskTimeout, conf, has_feature
from sagemaker_jobs.errors import JobTimedOut, NotVisibleYet, SageMakerJobError, SubmitFailed, WaitInterrupted
from sagemaker_jobs.failure.messages import RAN_TOO_LONG, TIMED_OUT
from sagemaker_jobs.job.casting import parse_optional_float
from sagemaker_jobs.job.compare import is_trial
from sagemaker_jobs.job.continuation import is_permanent_failure
from sagemaker_jobs.job.describe import Job, build_reported_error, describe_job, stop_job
from sagemaker_jobs.job.submit import ensure_job, is_given_up_trial, list_attempts, list_instance_types
from sagemaker_jobs.lineage import build_lineage
from sagemaker_jobs.links import persist_links
from sagemaker_jobs.tags import STOPPED_TAG, read_tags
from sagemaker_jobs.triggers import SageMakerJobTrigger
from sagemaker_jobs.waiting.transform_progress import count_objects_for_progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sagemaker_jobs.job.continuation import Continuation
    from sagemaker_jobs.job.spec import JobSpec, Trial
    from sagemaker_jobs.kinds import JobKind

# The trigger stops the job at its limits; Airflow's own timeout applies if no triggerer runs.
_BACKSTOP_SECONDS = 60.0
# max_runtime_seconds does not count before instances are ready, when nothing is billed; this limits that time.
_PROVISIONING_SECONDS = 3600.0
# States of a task that has a later try than the killed one, which adopts the job.
_CONTINUING_STATES = frozenset(
    {"scheduled", "queued", "deferred", "up_for_retry", "up_for_reschedule", "success"}
)
_LONGEST_PAUSE_SECONDS = 600.0
# All of AWS describes an accepted job within about a minute; independent of the submit timeout.
_VISIBLE_WITHIN_SECONDS = 300.0
_VISIBLE_PAUSE_SECONDS = 15.0
TASK_KILLED = "its task was killed"
WAIT_TEMPLATE_FIELDS = ("max_runtime_seconds", "capacity_wait_seconds")
#: XCom key: the try that waits, where a retry must not resume the wait of the try before.
WAITING_TRY_KEY = "waiting_try"


class SubmitRetryState(TypedDict):
    """How long the job could not be submitted: since when (epoch seconds), and the number of pauses so far.

    `unseen_since`: since when AWS has accepted the job without describing it.
    """

    since: float
    pauses: int
    unseen_since: NotRequired[float]


class JobWaitMixin(AwsBaseHookMixin[SageMakerHook], metaclass=BaseOperatorMeta):
    """Mixin: ``submit_or_adopt`` finds or submits the job, ``wait_for_job`` defers, ``on_completed`` returns a result.

    Where AWS cannot run the job now (a quota is in use, no capacity, throttling, a server error, rejected credentials),
    the task is deferred and retries with growing pauses for ``capacity_wait_seconds``; for a few minutes also where
    AWS has accepted the job but does not describe it yet. The job is stopped after ``execution_timeout`` or the
    sensor's ``timeout``, with an error that Airflow retries, and after ``max_runtime_seconds`` of billed time, with an
    error that it does not retry: the same job would take as long again.

    It has the metaclass of operators, so that ``default_args`` and ``partial`` accept its constructor's arguments.

    :param max_runtime_seconds: the job's limit of billed time; None for no limit (templated).
    :param first_poll_seconds: pause before the first poll; at least twice ``[workers] min_heartbeat_interval``.
    :param max_poll_seconds: the longest pause between polls.
    :param capacity_wait_seconds: how long to retry while AWS has no capacity or does not accept the job (templated).
    :param continuation: decides what follows a transform that failed permanently; pass the same one to the operator,
        which needs ``resume``, and to the sensor.
    """

    job_kind: JobKind
    first_retry_pause_seconds: float = 30.0
    _ended: Job | None = None
    _ended_spec: JobSpec | None = None
    current_job_name: str | None = None
    _ti: Any = None
    # Defined by the operator or sensor, the other base class.
    log: Any
    execution_timeout: datetime.timedelta | None

    def __init__(
        self,
        *,
        max_runtime_seconds: float | str | None = None,
        first_poll_seconds: float = 2,
        max_poll_seconds: float = 30,
        capacity_wait_seconds: float | str | None = 3600,
        continuation: Continuation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_runtime_seconds = max_runtime_seconds
        self.first_poll_seconds = first_poll_seconds
        self.max_poll_seconds = max_poll_seconds
        self.capacity_wait_seconds = capacity_wait_seconds
        self.continuation = continuation

    def execute(self, context: Context) -> Any:
        """Begin a try: submit or adopt the job, or wait for it."""
        raise NotImplementedError

    def get_spec(self, context: Context) -> JobSpec | None:
        """The job's spec; None for a job known by name only."""
        raise NotImplementedError

    def on_submitted(self, context: Context, job: Job, submit_retry: SubmitRetryState | None) -> Any:
        """Handle the job that was adopted or submitted: wait for it."""
        return self.wait_for_job(context, job, submit_retry)

    def on_completed(self, context: Context, job: Job) -> Any:
        """The task's return value for a completed job."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Stop the job when the task is killed or times out before or after the wait.

        Not when Airflow continues the task: then only this try ends, because its worker shuts down or because the next
        try has already begun, and the next try adopts the same job.
        """
        if self._is_job_unwanted() and self.current_job_name is not None:
            stop_job(self.hook, self.job_kind, self.current_job_name, because=TASK_KILLED)

    def _is_job_unwanted(self) -> bool:
        """Whether no other try of the task will adopt the job of this try, which is being killed."""
        if isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            return True
        ti = self._ti
        if ti is None:
            return True
        index = None if ti.map_index is None or ti.map_index < 0 else ti.map_index
        which = {"dag_id": ti.dag_id, "map_index": index, "task_ids": [ti.task_id], "run_ids": [ti.run_id]}
        try:
            found = ti.get_task_states(**which)
        except Exception:
            self.log.exception("Cannot read the task's state, so its job is left to clean_up or the janitor.")
            return False
        state = next(iter(found.get(ti.run_id, {}).values()), None)
        if state == "running":
            return bool(ti.try_number > ti.max_tries)
        return state not in _CONTINUING_STATES

    def submit_or_adopt(
        self,
        context: Context,
        spec: JobSpec,
        submit_retry: SubmitRetryState | None = None,
        *,
        after_ended_attempt: bool = False,
    ) -> Any:
        """Find or submit the job, with retries while AWS does not accept it, and call ``on_submitted``.

        ``after_ended_attempt``: whether an attempt has already ended in this try; then a clear of the task no longer
        permits a further one.
        """
        self._ended_spec = spec
        try:
            job = ensure_job(
                self.hook,
                spec,
                task_was_cleared=not after_ended_attempt and is_first_try_after_clear(context),
                continuation=self.continuation,
            )
        except SubmitFailed as error:
            return self._retry_submit_later(context, spec, error, submit_retry)
        self.current_job_name = job.name
        return self.on_submitted(context, job, submit_retry)

    def retry_submit(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 - the timer's
        submit_retry: SubmitRetryState | None = None,
    ) -> Any:
        """Resume after a pause."""
        spec = self.get_spec(context)
        if spec is None:
            raise WaitInterrupted("The spec of the job is no longer in XCom; the next try creates it again.")
        return self.submit_or_adopt(context, spec, submit_retry)

    def wait_for_job(self, context: Context, job: Job, submit_retry: SubmitRetryState | None = None) -> Any:
        """Return ``on_completed`` if the job has completed, raise if it failed or was stopped, else defer."""
        persist_links(context, self, self.hook, self.job_kind, job.name)
        if job.has_ended:
            return self._finish(context, job, submit_retry)
        created_at = job.description["CreationTime"].timestamp()
        trial = self._find_trial(context, job)
        max_runtime = (
            parse_optional_float(self.max_runtime_seconds, "max_runtime_seconds")
            if trial is None
            else trial.max_runtime_seconds
        )
        deadline = self._deadline()
        self.defer(
            trigger=SageMakerJobTrigger(
                kind=self.job_kind.name,
                job_name=job.name,
                created_at=created_at,
                max_runtime_seconds=max_runtime,
                max_provisioning_seconds=None if trial is None else trial.max_provisioning_seconds,
                deadline=deadline,
                output_uri=next(iter(job.kind.list_output_uris(job.description)), None),
                object_count=count_objects_for_progress(self.hook, job),
                first_poll_seconds=max(self.first_poll_seconds, _min_deferral_seconds()),
                max_poll_seconds=self.max_poll_seconds,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            kwargs={"job_name": job.name, "attempt": job.attempt, "submit_retry": submit_retry},
            timeout=_airflow_timeout(created_at, max_runtime, deadline),
        )
        return None

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        job_name: str | None = None,
        attempt: int | None = None,
        submit_retry: SubmitRetryState | None = None,
    ) -> Any:
        """Resume after the trigger: describe the job and act on its status, whatever the event says."""
        event = event or {}
        name = self.current_job_name = job_name or str(event.get("job_name"))
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise WaitInterrupted(f"AWS no longer has {self.job_kind.noun} {name}.", job_name=name)
        if event.get("status") == "timeout":
            return self._stop_timed_out_job(context, name, attempt, str(event.get("message") or TIMED_OUT))
        if not job.has_ended:
            raise self._build_interrupted_error(context, name, str(event.get("message")))
        return self._finish(context, job, submit_retry)

    def defer(self, **kwargs: Any) -> Any:
        """Defer, and note the try for ``resume_execution`` where Airflow needs it."""
        if not has_feature("retries begin with execute"):
            self._ti.xcom_push(key=WAITING_TRY_KEY, value=self._ti.try_number)
        return super().defer(**kwargs)  # type: ignore[misc]  # BaseOperator's

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume at ``on_wait_failed`` where Airflow would raise an error that it never retries.

        Airflow turns a sensor's deferral timeout into AirflowSensorTimeout, which ends the task whatever
        ``retries`` says. Before 3.1.1 it resumes a retry with the event of the try before, which would fail again at
        once (apache/airflow#56704): such a try begins with ``execute``.
        """
        ti: Any = context["ti"]
        self._ti = ti
        if not has_feature("retries begin with execute"):
            waiting_try = ti.xcom_pull(task_ids=ti.task_id, key=WAITING_TRY_KEY, map_indexes=ti.map_index)
            if waiting_try != ti.try_number:
                return self.execute(context)
        if next_method == TRIGGER_FAIL_REPR:
            next_method, next_kwargs = "on_wait_failed", {"failure": next_kwargs or {}}
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's

    def on_wait_failed(self, context: Context, failure: dict[str, Any]) -> Any:
        """Resume after Airflow ended the wait: stop the job after a timeout, else leave it to the next try."""
        for line in failure.get("traceback") or []:
            self.log.error(line)
        cause = failure.get("error", "Unknown")
        name, attempt = self._find_current_job(context)
        if cause == TriggerFailureReason.TRIGGER_TIMEOUT:
            return self._stop_timed_out_job(context, name, attempt)
        raise self._build_interrupted_error(context, name, str(cause))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - OpenLineage's
        """The inputs and outputs of the job that this task waited for."""
        return build_lineage(self.hook, self._ended, self._ended_spec, completed=True)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:  # noqa: ARG002 - OpenLineage's
        """The inputs of the job that failed or was stopped while this task waited for it."""
        job = self._ended
        if job is None and self._ended_spec is not None:
            # The job had failed before this try, which raised its error instead of waiting.
            job = next(reversed(list(list_attempts(self.hook, self._ended_spec))), None)
        return build_lineage(self.hook, job, self._ended_spec, completed=False)

    def _finish(self, context: Context, job: Job, submit_retry: SubmitRetryState | None = None) -> Any:
        self._ended, self._ended_spec = job, self.get_spec(context)
        if job.status == "Completed":
            self.log.info("%s %s completed.", self.job_kind.noun.capitalize(), job.name)
            return self.on_completed(context, job)
        if job.resolution is not None:
            self.log.warning("%s failed, but its work is done: %s", job.name, job.resolution)
            return self.on_completed(context, job)
        spec = self._ended_spec
        if spec is not None and is_given_up_trial(self.hook, spec, job):
            return self.submit_or_adopt(context, spec, submit_retry, after_ended_attempt=True)
        error = build_reported_error(self.hook, job)
        if self.continuation is not None and spec is not None and is_permanent_failure(job):
            return self.submit_or_adopt(context, spec, submit_retry, after_ended_attempt=True)
        if error.reason == "capacity" and spec is not None:
            return self._retry_submit_later(context, spec, error, submit_retry)
        raise error

    def _retry_submit_later(
        self, context: Context, spec: JobSpec, error: SageMakerJobError, submit_retry: SubmitRetryState | None
    ) -> Any:
        """Retry the submission: at once with an untried instance type, else after a pause; raise after the timeout."""
        now = time.time()
        submit_retry = submit_retry or SubmitRetryState(since=now, pauses=0)
        if isinstance(error, NotVisibleYet):
            # Accepted now, so the time before it was accepted does not count.
            unseen_since = submit_retry.get("unseen_since", now)
            pause = max(min(self.first_retry_pause_seconds, _VISIBLE_PAUSE_SECONDS), now - unseen_since)
            return self._defer_retry(
                error, pause, until=unseen_since + _VISIBLE_WITHIN_SECONDS,
                submit_retry=SubmitRetryState(**{**submit_retry, "unseen_since": unseen_since}),
            )  # fmt: skip
        next_retry = SubmitRetryState(since=submit_retry["since"], pauses=submit_retry["pauses"] + 1)
        if error.reason == "capacity" and next_retry["pauses"] < len(list_instance_types(spec)):
            self.log.warning("%s Trying the next instance type.", error.headline)
            return self.submit_or_adopt(context, spec, next_retry)
        capacity_wait = parse_optional_float(self.capacity_wait_seconds, "capacity_wait_seconds") or 0.0
        pause = min(self.first_retry_pause_seconds * 2.0 ** submit_retry["pauses"], _LONGEST_PAUSE_SECONDS)
        until = submit_retry["since"] + capacity_wait
        return self._defer_retry(error, pause, until=until, submit_retry=next_retry)

    def _defer_retry(
        self, error: SageMakerJobError, pause: float, *, until: float, submit_retry: SubmitRetryState
    ) -> Any:
        """Defer ``retry_submit`` by about ``pause`` seconds; raise ``error`` if that is after ``until``."""
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
        if time.time() + pause > until:
            raise error
        self.log.warning("%s Retrying in %.0f s, without holding a worker.", error.headline, pause)
        self.defer(
            trigger=TimeDeltaTrigger(datetime.timedelta(seconds=pause)),
            method_name="retry_submit",
            kwargs={"submit_retry": submit_retry},
        )
        return None

    def _stop_timed_out_job(
        self, context: Context, name: str | None, attempt: int | None, because: str = TIMED_OUT
    ) -> Any:
        """Stop the job and raise JobTimedOut or JobRanTooLong with its last log lines.

        A job that has completed or failed in the meantime is handled as such.
        """
        if name is None:
            raise JobTimedOut("The task timed out, and no job was found to stop.")
        stop_job(self.hook, self.job_kind, name, because=because)
        job = describe_job(self.hook, self.job_kind, name, attempt=attempt)
        if job is None:
            raise JobTimedOut(f"The task timed out, and AWS has no job {name}.", job_name=name)
        if job.status in {"Completed", "Failed"}:
            return self._finish(context, job)
        spec = self._ended_spec = self.get_spec(context)
        self._ended = job
        if because == RAN_TOO_LONG and spec is not None and is_trial(spec, job):
            return self.submit_or_adopt(context, spec, after_ended_attempt=True)
        # An existing stop tag takes precedence: that stop may have come first.
        raise build_reported_error(self.hook, job, {STOPPED_TAG: because, **read_tags(self.hook, job.arn)})

    def _build_interrupted_error(self, context: Context, name: str | None, cause: str) -> WaitInterrupted:
        """The error for an interrupted wait; stops the job first if no try is left to adopt it."""
        ti: Any = context["ti"]
        if name is not None and ti.try_number > ti.max_tries:
            stop_job(self.hook, self.job_kind, name, because="the wait for it failed on the last try")
            return WaitInterrupted(f"The wait for {name} failed, and it was stopped: {cause}", job_name=name)
        return WaitInterrupted(f"The wait for {name} failed; the job runs on: {cause}", job_name=name)

    def _find_current_job(self, context: Context) -> tuple[str | None, int | None]:
        spec = self.get_spec(context)
        if spec is None:
            return getattr(self, "job_name", None), None
        existing = list(list_attempts(self.hook, spec))
        return (existing[-1].name, existing[-1].attempt) if existing else (None, None)

    def _find_trial(self, context: Context, job: Job) -> Trial | None:
        """What the job tries, with limits of its own; None for another job."""
        spec = None if job.attempt != 1 else self.get_spec(context)
        return spec.trial if spec is not None and is_trial(spec, job) else None

    def _deadline(self) -> float | None:
        """Epoch seconds at which this wait must end: ``execution_timeout`` or the sensor's ``timeout``."""
        limits = [] if self.execution_timeout is None else [self.execution_timeout.total_seconds()]
        sensor_timeout = getattr(self, "timeout", None)
        if isinstance(sensor_timeout, int | float):
            limits.append(float(sensor_timeout))
        return time.time() + min(limits) if limits else None


def is_first_try_after_clear(context: Context) -> bool:
    """Whether this is the first try after a person cleared the task.

    ``max_tries`` is constant over automatic retries and rises when a task is cleared, so the first try after each
    clear is ``max_tries - retries + 1``.
    """
    ti: Any = context["ti"]
    first_try = ti.max_tries - (ti.task.retries or 0) + 1
    return bool(ti.try_number == first_try and first_try > 1)


def _min_deferral_seconds() -> float:
    """The shortest time from a deferral to its event: by then the scheduler knows that the worker has ended.

    If the task's process closes its sockets just before it exits, its supervisor waits ``min_heartbeat_interval``
    before it checks again. A task that an event resumes before that counts as killed, which costs a try and its
    ``retry_delay`` (apache/airflow#67287, #71580, #72716).
    """
    return 2.0 * float(conf.getint("workers", "min_heartbeat_interval"))


def _airflow_timeout(
    created_at: float, max_runtime: float | None, deadline: float | None
) -> datetime.timedelta | None:
    """Airflow's own timeout of the wait, later than the trigger's, for a triggerer that does not run."""
    now = time.time()
    limits = [] if deadline is None else [deadline - now]
    if max_runtime is not None:
        limits.append(created_at + _PROVISIONING_SECONDS + max_runtime - now)
    return datetime.timedelta(seconds=max(1.0, min(limits)) + _BACKSTOP_SECONDS) if limits else None
