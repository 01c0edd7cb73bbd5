"""Wait for one job in the triggerer's event loop, as long as it takes; stop it when nobody wants it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sagemaker_jobs.aws import error_code, has_stale_credentials, is_transient, says_absent
from sagemaker_jobs.kinds import ENDED, KINDS
from sagemaker_jobs.outcome import TIMED_OUT
from sagemaker_jobs.tags import STOPPED_TAG, tag_list

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

GROWTH = 1.5
JITTER = 0.2
_STOP_PATIENCE_SECONDS = 25.0  # below [triggerer] on_kill_timeout, 30 s by default
_STILL_WAITING = "deferred"


class SageMakerJobTrigger(BaseTrigger):
    """Poll one job until it has ended, then fire ``{"status", "job_name", "message"}``.

    ``status`` is AWS's Completed, Failed or Stopped; ``timeout`` when ``deadline`` passed, after the job was
    stopped; or ``error`` when AWS answers that waiting is pointless, such as a missing permission.
    Throttling, 5xx and broken connections are none of these: they are outlived, with growing pauses.

    :param kind: "Processing" or "Transform".
    :param job_name: the job's final name.
    :param deadline: epoch seconds after which the job is stopped; None to wait for ever.
    :param first_poll_seconds: pause after the first look.
    :param max_poll_seconds: what the pause grows to.
    """

    def __init__(
        self,
        *,
        kind: str,
        job_name: str,
        deadline: float | None = None,
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
        self.deadline = deadline
        self.first_poll_seconds = first_poll_seconds
        self.max_poll_seconds = max_poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and keyword arguments from which the triggerer builds this trigger again."""
        fields = (
            "kind",
            "job_name",
            "deadline",
            "first_poll_seconds",
            "max_poll_seconds",
            "aws_conn_id",
            "region_name",
            "verify",
            "botocore_config",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            name: getattr(self, name) for name in fields
        }

    def hook(self) -> Any:
        """The hook to reach AWS with, of the same connection, region and settings as the task's."""
        return SageMakerHook(  # type: ignore[no-untyped-call]  # the provider is untyped
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=self.botocore_config,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire the one event."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]  # a pydantic model with a loose __init__

    async def on_kill(self) -> None:
        """Stop the job when a person marked or cleared the task; leave it when the trigger only moved.

        Airflow 3.3.2 also cancels with "user action" when another triggerer takes this trigger over. Then the
        task instance is still deferred, and stopping would kill a live job.
        """
        state = await self._task_state()
        if state == _STILL_WAITING:
            self.log.info(
                "The task is still deferred: %s goes on, another triggerer waits for it.", self.job_name
            )
            return
        await self._stop(f"the task is {state or 'no longer there'}")

    async def _wait(self) -> dict[str, Any]:
        kind = KINDS[self.kind]
        pause = self.first_poll_seconds
        started = time.time()
        trouble = 0
        while True:
            try:
                async with await self.hook().get_async_conn() as client:
                    while True:
                        found = await getattr(client, kind.describe)(**{kind.name_field: self.job_name})
                        trouble = 0
                        status = found[kind.status_field]
                        if status in ENDED:
                            return {
                                "status": status,
                                "job_name": self.job_name,
                                "message": found.get("FailureReason"),
                            }
                        if self._time_is_up():
                            await self._stop(TIMED_OUT)
                            return {"status": "timeout", "job_name": self.job_name, "message": TIMED_OUT}
                        self.log.info("%s is %s after %.0f s.", self.job_name, status, time.time() - started)
                        await asyncio.sleep(self._until_next_look(pause))
                        pause = min(pause * GROWTH, self.max_poll_seconds)
            except Exception as error:
                if not (is_transient(error) or has_stale_credentials(error)):
                    self.log.exception("Waiting for %s cannot go on.", self.job_name)
                    return {
                        "status": "error",
                        "job_name": self.job_name,
                        "message": f"{error_code(error)}: {error}",
                    }
                trouble += 1
                self.log.warning("AWS did not say how %s is (%d in a row): %s", self.job_name, trouble, error)
            if self._time_is_up():
                await self._stop(TIMED_OUT)
                return {"status": "timeout", "job_name": self.job_name, "message": TIMED_OUT}
            await asyncio.sleep(self._until_next_look(min(2.0**trouble, self.max_poll_seconds)))

    def _time_is_up(self) -> bool:
        return self.deadline is not None and time.time() >= self.deadline

    def _until_next_look(self, pause: float) -> float:
        """``pause``, jittered so that jobs started together are not polled together, up to the deadline."""
        jittered = pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
        if self.deadline is None:
            return jittered
        return max(0.1, min(jittered, self.deadline - time.time()))

    async def _stop(self, because: str) -> None:
        """Tag and stop the job if it runs; repeats through transient errors for a while, then says so."""
        kind = KINDS[self.kind]
        give_up = time.monotonic() + _STOP_PATIENCE_SECONDS
        pause = 0.5
        while True:
            try:
                async with await self.hook().get_async_conn() as client:
                    found = await getattr(client, kind.describe)(**{kind.name_field: self.job_name})
                    if found[kind.status_field] != "InProgress":
                        return
                    await self._tag(client, found[kind.arn_field], because)
                    await getattr(client, kind.stop)(**{kind.name_field: self.job_name})
                    self.log.warning("Stopped %s %s: %s.", kind.noun, self.job_name, because)
                    return
            except Exception as error:
                if says_absent(error):
                    self.log.info("%s ended before it could be stopped: %s", self.job_name, error)
                    return
                if not is_transient(error) or time.monotonic() + pause > give_up:
                    self.log.exception("%s could not be stopped and may run on.", self.job_name)
                    return
                self.log.warning("Stopping %s is tried again: %s", self.job_name, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _tag(self, client: Any, arn: str, because: str) -> None:
        try:
            await client.add_tags(ResourceArn=arn, Tags=tag_list({STOPPED_TAG: because}))
        except Exception as error:
            if is_transient(error):
                raise
            self.log.warning("%s could not be tagged before stopping: %s", arn, error)

    async def _task_state(self) -> str | None:
        """The task instance's state as Airflow has it now; None when the instance is gone.

        Not knowing is an error on purpose: the caller then leaves the job alone, and a teardown or the
        janitor stops it.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: RuntimeTaskInstanceProtocol | Any = self.task_instance
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        of_run = states.get(ti.run_id, {})
        # A mapped task instance is listed as "<task id>_<map index>".
        state = of_run.get(ti.task_id, of_run.get(f"{ti.task_id}_{ti.map_index}"))
        return None if state is None else str(getattr(state, "value", state))
