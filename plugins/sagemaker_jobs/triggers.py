"""Wait for one job in the triggerer's event loop, as long as it takes; stop it when nobody wants it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import error_code, is_transient, says_absent
from sagemaker_jobs.kinds import ENDED, KINDS
from sagemaker_jobs.outcome import RAN_TOO_LONG, TIMED_OUT
from sagemaker_jobs.polling import Poller, shared_poller
from sagemaker_jobs.progress import EVERY_SECONDS, progress_text
from sagemaker_jobs.tags import STOPPED_TAG, tag_list

if TYPE_CHECKING:
    from sagemaker_jobs.kinds import JobKind

GROWTH = 1.5
JITTER = 0.2
_SHORTEST_PAUSE = 0.05
_STOP_PATIENCE_SECONDS = 25.0  # below [triggerer] on_kill_timeout, 30 s by default
_KNOWN_WITHIN_SECONDS = 300.0
_STILL_WAITING = "deferred"

# Keeps tasks that outlive their trigger from being collected: the event loop holds them only weakly.
_stopping: set[asyncio.Task[None]] = set()
_warm = False


class SageMakerJobTrigger(BaseTrigger):
    """Poll one job until it has ended, then fire ``{"status", "job_name", "message"}``.

    ``status`` is AWS's Completed, Failed or Stopped; ``timeout`` when time was up, after the job was stopped;
    or ``error`` when AWS answers that waiting is pointless, such as a missing permission. Throttling, 5xx and
    broken connections are none of these: they are outlived, with growing pauses.

    :param kind: "Processing" or "Transform".
    :param job_name: the job's final name.
    :param created_at: epoch seconds at which AWS took the job.
    :param stop_after_seconds: how long the job may run, from the start of billing; None for ever.
    :param deadline: epoch seconds at which the wait must end, whatever the job does; None for never.
    :param output_uri: where a transform writes, and nothing else; with ``objects`` its progress is logged.
    :param objects: how many input objects it has.
    :param first_poll_seconds: pause after the first look.
    :param max_poll_seconds: what the pause grows to; a job is described so often at most.
    """

    def __init__(
        self,
        *,
        kind: str,
        job_name: str,
        created_at: float,
        stop_after_seconds: float | None = None,
        deadline: float | None = None,
        output_uri: str | None = None,
        objects: int | None = None,
        first_poll_seconds: float = 2,
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
        self.stop_after_seconds = stop_after_seconds
        self.deadline = deadline
        self.output_uri = output_uri
        self.objects = objects
        self.first_poll_seconds = first_poll_seconds
        self.max_poll_seconds = max_poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self._started_at: float | None = None
        self._counted_at = float("-inf")
        # The task that deferred has just described the job.
        self._described_at = time.monotonic()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and keyword arguments from which the triggerer builds this trigger again."""
        fields = (
            "kind",
            "job_name",
            "created_at",
            "stop_after_seconds",
            "deadline",
            "output_uri",
            "objects",
            "first_poll_seconds",
            "max_poll_seconds",
            "aws_conn_id",
            "region_name",
            "verify",
            "botocore_config",
        )
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire the one event."""
        kind = KINDS[self.kind]
        self._warm_up()
        async with self._poller() as poller, poller.waiting_for(kind):
            status, message = await self._wait(poller, kind)
        event = {"status": status, "job_name": self.job_name, "message": message}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # a pydantic model with a loose __init__

    async def on_kill(self) -> None:
        """Stop the job when a person marked or cleared the task; leave it when the trigger only moved.

        Airflow 3.3.2 also cancels with "user action" when another triggerer takes this trigger over. Then the
        task instance is still deferred, and stopping would kill a live job.

        The same version sends its cancellation again with every exchange between triggerer and supervisor,
        about once a second, until the trigger has ended: what is awaited here is cut off long before
        ``[triggerer] on_kill_timeout``, and silently. So the stop runs in a task of its own, which this one
        waits for as long as it is let.
        """
        stopping = asyncio.create_task(self._stop_unless_handed_over(), name=f"stop {self.job_name}")
        _stopping.add(stopping)
        stopping.add_done_callback(_stopping.discard)
        give_up = time.monotonic() + _STOP_PATIENCE_SECONDS
        while not stopping.done() and time.monotonic() < give_up:
            try:
                await asyncio.wait({stopping}, timeout=give_up - time.monotonic())
            except asyncio.CancelledError:
                self.log.debug(
                    "The wait for stopping %s was cancelled; it is stopped all the same.", self.job_name
                )

    def _warm_up(self) -> None:
        """Ask for the task's state once in a triggerer's life, so that ``on_kill`` need not be the first.

        The first question makes Airflow's supervisor build an API server in its process, which takes seconds
        to half a minute: too long for a job that should be stopped now.
        """
        global _warm
        if _warm or self.task_instance is None:
            return
        _warm = True
        asking = asyncio.create_task(self._ask_in_vain(), name="first question to the supervisor")
        _stopping.add(asking)
        asking.add_done_callback(_stopping.discard)

    async def _ask_in_vain(self) -> None:
        try:
            await self._task_state()
        except Exception:
            self.log.exception("The supervisor does not tell task states: jobs are not stopped by on_kill.")

    async def _stop_unless_handed_over(self) -> None:
        try:
            state = await self._task_state()
        except Exception:
            self.log.exception("The task's state is unknown, so %s is left alone.", self.job_name)
            return
        if state == _STILL_WAITING:
            self.log.info("The task is still deferred: %s goes on, another triggerer waits.", self.job_name)
            return
        async with self._poller() as poller:
            await self._stop(poller, KINDS[self.kind], f"its task is {state or 'no longer there'}")

    async def _wait(self, poller: Poller, kind: JobKind) -> tuple[str, str | None]:
        """Look until the job has ended or time is up; the event's status and message."""
        pause = self.first_poll_seconds
        trouble = 0
        # The task has looked a moment ago, and an event must not come too soon (see `WaitsForJob`).
        await asyncio.sleep(self._jittered(pause))
        while True:
            try:
                ended = await self._look(poller, kind)
            except Exception as error:
                if not is_transient(error) and not (says_absent(error) and self._is_new()):
                    self.log.exception("Waiting for %s cannot go on.", self.job_name)
                    return "error", f"{error_code(error)}: {error}"
                trouble += 1
                self.log.warning("AWS did not say how %s is (%d in a row): %s", self.job_name, trouble, error)
                await asyncio.sleep(self._jittered(min(2.0**trouble, self.max_poll_seconds)))
            else:
                trouble = 0
                if ended is not None:
                    return ended[kind.status_field], ended.get("FailureReason")
                await asyncio.sleep(self._jittered(pause))
                pause = min(pause * GROWTH, self.max_poll_seconds)
            if self._seconds_left() <= 0:
                because = RAN_TOO_LONG if self._seconds_to_run() <= 0 else TIMED_OUT
                await self._stop(poller, kind, because)
                return "timeout", because

    async def _look(self, poller: Poller, kind: JobKind) -> dict[str, Any] | None:
        """The description of a job that has ended; None while it runs.

        A job is described once in ``max_poll_seconds``. In between, and always where many wait, List is asked, once for
        all, whether it still runs; a look that is not due and cannot be had by List is left out.
        """
        due = time.monotonic() - self._described_at >= self.max_poll_seconds
        if not self._may_be_late() and (
            not due or (poller.lists_rather(kind) and not self._lacks_start(poller))
        ):
            listed = await poller.is_listed(kind, self.job_name)
            if listed:
                self.log.info("%s is InProgress, %s.", self.job_name, self._elapsed())
                await self._tell_progress(poller)
            if listed or (listed is None and not due):
                return None
        found = await poller.describe(kind, self.job_name)
        self._described_at = time.monotonic()
        started: datetime | None = found.get(kind.started_field)
        self._started_at = None if started is None else started.timestamp()
        status = found[kind.status_field]
        if status in ENDED:
            return found
        self.log.info("%s is %s, %s.", self.job_name, status, self._elapsed())
        await self._tell_progress(poller)
        return None

    async def _tell_progress(self, poller: Poller) -> None:
        """Log how many objects are done, once in a while; not knowing it is no reason to stop waiting."""
        if self.objects is None or self.output_uri is None:
            return
        if time.monotonic() - self._counted_at < EVERY_SECONDS:
            return
        self._counted_at = time.monotonic()
        try:
            done = await poller.count_outputs(self.output_uri)
        except (ClientError, BotoCoreError, OSError) as error:
            self.log.warning("The outputs of %s could not be counted: %s", self.job_name, error)
            self.objects = None
            return
        if done is not None:
            self.log.info("%s: %s.", self.job_name, progress_text(done, self.objects, self._started_at))

    def _lacks_start(self, poller: Poller) -> bool:
        """Whether an estimate could be told if it were known when the job's instances came, which Describe tells."""
        return self._started_at is None and self.objects is not None and poller.counts_outputs

    def _is_new(self) -> bool:
        """Whether some part of AWS may not know the job yet."""
        return time.time() < self.created_at + _KNOWN_WITHIN_SECONDS

    def _may_be_late(self) -> bool:
        """Whether the start of billing must be known, which only Describe tells."""
        if self._started_at is not None or self.stop_after_seconds is None:
            return False
        return time.time() + self.max_poll_seconds >= self.created_at + self.stop_after_seconds

    def _seconds_left(self) -> float:
        """Seconds until the job or its task has had its time; infinity without a limit."""
        to_wait = float("inf") if self.deadline is None else self.deadline - time.time()
        return min(to_wait, self._seconds_to_run())

    def _seconds_to_run(self) -> float:
        """Seconds that the job may still run. Provisioning is free and does not count."""
        if self.stop_after_seconds is None or self._started_at is None:
            return float("inf")
        return self._started_at + self.stop_after_seconds - time.time()

    def _elapsed(self) -> str:
        waited = f"{time.time() - self.created_at:.0f} s after it was submitted"
        return waited if self._started_at is None else f"{time.time() - self._started_at:.0f} s on instances"

    def _jittered(self, pause: float) -> float:
        """``pause``, varied so that jobs started together drift apart, and no longer than time is left."""
        spread = pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
        return max(_SHORTEST_PAUSE, min(spread, self._seconds_left()))

    async def _stop(self, poller: Poller, kind: JobKind, because: str) -> None:
        """Tag and stop the job if it runs; repeats through transient errors for a while, then says so."""
        give_up = time.monotonic() + _STOP_PATIENCE_SECONDS
        pause = 0.5
        while True:
            try:
                found = await self._description(poller, kind)
                if found is not None and found[kind.status_field] != "InProgress":
                    return
                if found is not None:
                    await self._tag(poller, found[kind.arn_field], because)
                await poller.call(kind.stop, **{kind.name_field: self.job_name})
            except Exception as error:
                if says_absent(error):
                    self.log.info("%s is not there, or has ended: %s", self.job_name, error)
                    return
                if not is_transient(error) or time.monotonic() + pause > give_up:
                    self.log.exception("%s could not be stopped and may run on.", self.job_name)
                    return
                self.log.warning("Stopping %s is tried again: %s", self.job_name, error)
            else:
                self.log.warning("Stopped %s %s: %s.", kind.noun, self.job_name, because)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _description(self, poller: Poller, kind: JobKind) -> dict[str, Any] | None:
        """The job's description; None where AWS does not describe it, although it may have it."""
        try:
            return await poller.describe(kind, self.job_name)
        except ClientError as error:
            if not says_absent(error):
                raise
            return None

    async def _tag(self, poller: Poller, arn: str, because: str) -> None:
        try:
            await poller.call("add_tags", ResourceArn=arn, Tags=tag_list({STOPPED_TAG: because}))
        except Exception as error:
            if is_transient(error):
                raise
            self.log.warning("%s could not be tagged before stopping: %s", arn, error)

    async def _task_state(self) -> str | None:
        """The task instance's state as Airflow has it now; None when the instance is gone.

        Not knowing is an error on purpose: the caller then leaves the job alone, since stopping a live job
        loses money for certain, and a teardown or the janitor stops what must be stopped.
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
        return shared_poller(hook, **settings)
