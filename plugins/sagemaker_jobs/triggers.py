"""Trigger that waits for one job, and stops it at its limits or when its task is cleared or marked."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.airflow_compat import has_feature, let_threads_ask_supervisor
from sagemaker_jobs.aws import get_error_code, is_not_found_error, is_transient_error
from sagemaker_jobs.failure.messages import RAN_TOO_LONG, TIMED_OUT
from sagemaker_jobs.kinds import ENDED_STATUSES, KINDS
from sagemaker_jobs.tags import STOPPED_TAG, to_tag_list
from sagemaker_jobs.waiting.polling import Poller, open_shared_poller
from sagemaker_jobs.waiting.transform_progress import PROGRESS_INTERVAL_SECONDS, format_progress

if TYPE_CHECKING:
    from sagemaker_jobs.kinds import JobKind

PAUSE_GROWTH = 1.5
PAUSE_JITTER = 0.2
_SHORTEST_PAUSE = 0.05
_STOP_PATIENCE_SECONDS = 25.0  # below [triggerer] on_kill_timeout, 30 s by default
_KNOWN_WITHIN_SECONDS = 300.0
_STILL_WAITING = "deferred"

# Strong references to tasks that outlive their trigger: the event loop holds only weak ones.
_background_tasks: set[asyncio.Task[None]] = set()
_is_warmed_up = False


class SageMakerJobTrigger(BaseTrigger):
    """Poll one job until it has ended, then fire ``{"status", "job_name", "message"}``.

    ``status`` is AWS's Completed, Failed or Stopped; ``timeout`` at a limit, after the job was stopped; or ``error``
    after an error that retries cannot fix, such as a missing permission. Throttling, 5xx and broken connections are
    retried with growing pauses.

    :param kind: "Processing" or "Transform".
    :param job_name: the job's final name.
    :param created_at: epoch seconds of the job's creation.
    :param max_runtime_seconds: the job's time limit, from the start of billing; None for no limit.
    :param max_provisioning_seconds: how long it may wait for instances, which counts as its time limit; None for no
        limit.
    :param deadline: epoch seconds at which the wait must end; None for no deadline.
    :param output_uri: the transform's output prefix; with ``object_count`` its progress is logged.
    :param object_count: number of input objects.
    :param first_poll_seconds: pause between the deferral and the first poll.
    :param deferred_at: epoch seconds of the deferral; by default, when the task makes this trigger.
    :param max_poll_seconds: the longest pause; a job is described at most once in this time.
    """

    def __init__(
        self,
        *,
        kind: str,
        job_name: str,
        created_at: float,
        max_runtime_seconds: float | None = None,
        max_provisioning_seconds: float | None = None,
        deadline: float | None = None,
        output_uri: str | None = None,
        object_count: int | None = None,
        first_poll_seconds: float = 2,
        deferred_at: float | None = None,
        max_poll_seconds: float = 30,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # BaseTrigger is untyped
        self.kind = kind
        self.job_name = job_name
        self.created_at = created_at
        self.max_runtime_seconds = max_runtime_seconds
        self.max_provisioning_seconds = max_provisioning_seconds
        self.deadline = deadline
        self.output_uri = output_uri
        self.object_count = object_count
        self.first_poll_seconds = first_poll_seconds
        self.deferred_at = time.time() if deferred_at is None else deferred_at
        self.max_poll_seconds = max_poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self._is_cancelled = False
        self._started_at: float | None = None
        self._progress_at = float("-inf")
        # The task that deferred has just described the job.
        self._described_at = time.monotonic()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and keyword arguments from which the triggerer rebuilds this trigger."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire one event."""
        kind = KINDS[self.kind]
        let_threads_ask_supervisor()
        self._warm_up()
        try:
            async with self._poller() as poller, poller.register_waiting_job(kind):
                status, message = await self._wait(poller, kind)
        except asyncio.CancelledError:
            self._is_cancelled = True
            raise
        event = {"status": status, "job_name": self.job_name, "message": message}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # a pydantic model with a loose __init__

    async def on_kill(self) -> None:
        """Stop the job when a person marked or cleared the task; keep it when the trigger only moved.

        Airflow 3.3.2 also cancels with "user action" when another triggerer takes this trigger over. Then the
        task instance is still deferred, and stopping would kill a live job.

        Until the trigger has ended, this version repeats its cancellation with every exchange between triggerer and
        supervisor, about once a second: an await here is cancelled silently, long before
        ``[triggerer] on_kill_timeout``. So the stop runs in a separate task, which this method waits for.
        """
        stopping = _run_in_background(self._stop_unless_handed_over(), f"stop {self.job_name}")
        give_up = time.monotonic() + _STOP_PATIENCE_SECONDS
        while not stopping.done() and time.monotonic() < give_up:
            try:
                await asyncio.wait({stopping}, timeout=give_up - time.monotonic())
            except asyncio.CancelledError:
                self.log.debug(
                    "Waiting for the stop of %s was cancelled; it is stopped anyway.", self.job_name
                )

    async def cleanup(self) -> None:
        """Before Airflow 3.3, which calls ``on_kill``: call it when the wait was cancelled.

        These versions do not say why: a person marked or cleared the task, another triggerer takes this trigger over,
        the triggerer stops, or Airflow's own timeout of the deferral has passed. In the first case the task is no
        longer deferred, which ``on_kill`` checks; after the timeout the resumed task stops its job and says so.
        """
        timeout: datetime | None = getattr(self, "timeout_after", None)
        is_timed_out = (
            timeout is not None and timeout.replace(tzinfo=timeout.tzinfo or UTC).timestamp() < time.time()
        )
        if self._is_cancelled and not is_timed_out and not has_feature("trigger on_kill"):
            await self.on_kill()

    def _warm_up(self) -> None:
        """Query the task's state once in each triggerer, so that the first query is not the one in ``on_kill``.

        The first query makes Airflow's supervisor build an API server in its process, which takes up to half a
        minute: too long for a job that should be stopped now.
        """
        global _is_warmed_up
        if _is_warmed_up or self.task_instance is None:
            return
        _is_warmed_up = True
        _run_in_background(self._query_task_state_once(), "first query to the supervisor")

    async def _query_task_state_once(self) -> None:
        try:
            await self._task_state()
        except Exception:
            self.log.exception("Cannot read task states from the supervisor: on_kill will not stop jobs.")

    async def _stop_unless_handed_over(self) -> None:
        try:
            state = await self._task_state()
        except Exception:
            self.log.exception("Cannot read the task's state, so %s is not stopped.", self.job_name)
            return
        if state == _STILL_WAITING:
            self.log.info("The task is still deferred: %s runs on, another triggerer waits.", self.job_name)
            return
        async with self._poller() as poller:
            await self._stop(poller, KINDS[self.kind], f"its task is {state or 'gone'}")

    async def _wait(self, poller: Poller, kind: JobKind) -> tuple[str, str | None]:
        """Poll until the job has ended or a limit is reached; the event's status and message."""
        pause = self.first_poll_seconds
        failures = 0
        # The task has described the job just before, and an early event costs a try (see `JobWaitMixin`). The time that
        # a triggerer took to begin counts; its clock may be behind.
        waited = max(0.0, time.time() - self.deferred_at)
        await asyncio.sleep(self._jittered(max(0.0, pause - waited)))
        while True:
            asked_at = time.time()
            try:
                ended = await self._describe_if_due(poller, kind)
            except Exception as error:
                # For a while, parts of AWS may not describe a new job yet.
                is_new = asked_at < self.created_at + _KNOWN_WITHIN_SECONDS
                if not is_transient_error(error) and not (is_not_found_error(error) and is_new):
                    self.log.exception("Cannot wait for %s any longer.", self.job_name)
                    return "error", f"{get_error_code(error)}: {error}"
                failures += 1
                self.log.warning("Cannot describe %s (%d in a row): %s", self.job_name, failures, error)
            else:
                failures = 0
                if ended is not None:
                    return ended[kind.status_field], ended.get("FailureReason")
            # Judged at the moment of asking: a slow answer does not tell whether the job has started since. If a limit
            # has passed meanwhile, the next look comes at once.
            if self._seconds_left(asked_at) <= 0:
                because = RAN_TOO_LONG if self._seconds_to_run(asked_at) <= 0 else TIMED_OUT
                await self._stop(poller, kind, because)
                return "timeout", because
            if failures:
                await asyncio.sleep(self._jittered(min(2.0**failures, self.max_poll_seconds)))
            else:
                await asyncio.sleep(self._jittered(pause))
                pause = min(pause * PAUSE_GROWTH, self.max_poll_seconds)

    async def _describe_if_due(self, poller: Poller, kind: JobKind) -> dict[str, Any] | None:
        """The description of a job that has ended; None while it runs.

        A job is described once in ``max_poll_seconds``. In between, and always when many jobs wait, one List for all
        shows whether it still runs; a poll that is not due is skipped if jobs cannot be listed.
        """
        due = time.monotonic() - self._described_at >= self.max_poll_seconds
        if not self._may_exceed_limit() and (
            not due or (poller.should_list_jobs(kind) and not self._needs_start_time(poller))
        ):
            listed = await poller.is_listed(kind, self.job_name)
            if listed:
                self.log.info("%s is InProgress, %s.", self.job_name, self._format_elapsed())
                await self._log_progress(poller)
            if listed or (listed is None and not due):
                return None
        found = await poller.describe(kind, self.job_name)
        self._described_at = time.monotonic()
        started: datetime | None = found.get(kind.started_field)
        self._started_at = None if started is None else started.timestamp()
        status = found[kind.status_field]
        if status in ENDED_STATUSES:
            return found
        self.log.info("%s is %s, %s.", self.job_name, status, self._format_elapsed())
        await self._log_progress(poller)
        return None

    async def _log_progress(self, poller: Poller) -> None:
        """Log the number of completed objects, at most once in ``PROGRESS_INTERVAL_SECONDS``; never fails the wait."""
        if self.object_count is None or self.output_uri is None:
            return
        if time.monotonic() - self._progress_at < PROGRESS_INTERVAL_SECONDS:
            return
        self._progress_at = time.monotonic()
        try:
            done = await poller.count_outputs(self.output_uri)
        except (ClientError, BotoCoreError, OSError) as error:
            self.log.warning("Cannot count the outputs of %s: %s", self.job_name, error)
            self.object_count = None
            return
        if done is not None:
            progress = format_progress(done, self.object_count, self._started_at)
            self.log.info("%s: %s.", self.job_name, progress)

    def _needs_start_time(self, poller: Poller) -> bool:
        """Whether the progress estimate lacks the job's start time, which only Describe returns."""
        return self._started_at is None and self.object_count is not None and poller.should_count_outputs

    def _may_exceed_limit(self) -> bool:
        """Whether the job may be near its time limit, so that its start time is needed, which only Describe returns."""
        known = (self.max_runtime_seconds, self.max_provisioning_seconds)
        limits = [limit for limit in known if limit is not None]
        if self._started_at is not None or not limits:
            return False
        return time.time() + self.max_poll_seconds >= self.created_at + min(limits)

    def _seconds_left(self, now: float) -> float:
        """Seconds until the job's time limit or the task's deadline; infinity without either."""
        to_wait = float("inf") if self.deadline is None else self.deadline - now
        return min(to_wait, self._seconds_to_run(now))

    def _seconds_to_run(self, now: float) -> float:
        """Seconds until the job's time limit; provisioning is not billed and has a limit of its own."""
        if self._started_at is None and self.max_provisioning_seconds is not None:
            return self.created_at + self.max_provisioning_seconds - now
        if self.max_runtime_seconds is None or self._started_at is None:
            return float("inf")
        return self._started_at + self.max_runtime_seconds - now

    def _format_elapsed(self) -> str:
        waited = f"{time.time() - self.created_at:.0f} s after it was submitted"
        return waited if self._started_at is None else f"{time.time() - self._started_at:.0f} s on instances"

    def _jittered(self, pause: float) -> float:
        """``pause`` with jitter, so that jobs started together drift apart; at most the seconds left."""
        spread = pause * random.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)  # noqa: S311 - spreads load, keeps no secret
        return max(_SHORTEST_PAUSE, min(spread, self._seconds_left(time.time())))

    async def _stop(self, poller: Poller, kind: JobKind, because: str) -> None:
        """Tag and stop the job if it runs; retries transient errors for a while, then logs the failure."""
        give_up = time.monotonic() + _STOP_PATIENCE_SECONDS
        pause = 0.5
        while True:
            try:
                found = await self._description(poller, kind)
                if found is not None and found[kind.status_field] != "InProgress":
                    return
                if found is not None:
                    await self._tag(poller, found[kind.arn_field], because)
                await poller.call(kind.stop_method, **{kind.name_field: self.job_name})
            except Exception as error:
                if is_not_found_error(error):
                    self.log.info("%s does not exist or has ended: %s", self.job_name, error)
                    return
                if not is_transient_error(error) or time.monotonic() + pause > give_up:
                    self.log.exception("Cannot stop %s; it may still run.", self.job_name)
                    return
                self.log.warning("Stopping %s failed; retrying: %s", self.job_name, error)
            else:
                self.log.warning("Stopped %s %s: %s.", kind.noun, self.job_name, because)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _description(self, poller: Poller, kind: JobKind) -> dict[str, Any] | None:
        """The job's description; None if AWS does not return it, although the job may exist."""
        try:
            return await poller.describe(kind, self.job_name)
        except ClientError as error:
            if is_not_found_error(error):
                return None
            raise

    async def _tag(self, poller: Poller, arn: str, because: str) -> None:
        try:
            await poller.call("add_tags", ResourceArn=arn, Tags=to_tag_list({STOPPED_TAG: because}))
        except Exception as error:
            if is_transient_error(error):
                raise
            self.log.warning("Cannot tag %s before stopping it: %s", arn, error)

    async def _task_state(self) -> str | None:
        """The task instance's current state in Airflow; None if the instance is gone.

        Raises if the state cannot be read: then the caller does not stop the job, since stopping a live job certainly
        loses money, and a teardown or the janitor stops it if needed.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        of_run = states.get(ti.run_id, {})
        # A mapped task instance is listed as "<task id>_<map index>".
        state = of_run.get(ti.task_id, of_run.get(f"{ti.task_id}_{ti.map_index}"))
        return None if state is None else str(getattr(state, "value", state))

    def _poller(self) -> Any:
        """The poller that all triggers with this connection, region and settings share."""
        settings = {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }
        hook = SageMakerHook(**settings)  # type: ignore[no-untyped-call]  # the provider is untyped
        return open_shared_poller(hook, **settings)


def _run_in_background(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(coroutine, name=name)
    _background_tasks.add(task)
    task.add_done_callback(_background_tasks.discard)
    return task
