"""Waiting in the triggerer outlives AWS's troubles, ends at its limits, and costs few calls."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from datetime import datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_jobs import triggers
from sagemaker_jobs.failure.messages import RAN_TOO_LONG, TIMED_OUT
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.triggers import SageMakerJobTrigger
from sagemaker_jobs.waiting import polling
from sagemaker_jobs.waiting.polling import CALLS_PER_SECOND, RateLimiter
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker


def trigger_for(name: str, kind: str = "Processing", **changes: Any) -> SageMakerJobTrigger:
    values = {"first_poll_seconds": 0.02, "max_poll_seconds": 0.1, "created_at": time.time(), **changes}
    return SageMakerJobTrigger(kind=kind, job_name=name, **values)


async def event_of(trigger: SageMakerJobTrigger) -> dict[str, Any]:
    payloads = [event.payload async for event in trigger.run()]
    assert len(payloads) == 1
    return payloads[0]


async def until(is_reached: Callable[[], bool]) -> None:
    """Wait for a state, however long a busy machine takes to it."""
    give_up = time.monotonic() + 120
    while not is_reached():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds that triggers ask for, whatever a busy machine makes of them."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    return asked


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the pacer reads from the clock; the last one when it lets a caller go is the time of that turn.

    The test itself may come to read the clock seconds later.
    """
    found: list[float] = []

    def monotonic() -> float:
        found.append(time.monotonic())
        return found[-1]

    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=monotonic))
    return found


def test_the_trigger_survives_serialization(aws: FakeSageMaker):
    """What the triggerer rebuilds is what was deferred with."""
    trigger = trigger_for(
        "work-1", max_runtime_seconds=60.0, deadline=1e12, region_name="eu-west-1", verify=False
    )
    path, arguments = trigger.serialize()
    assert path == "sagemaker_jobs.triggers.SageMakerJobTrigger"
    assert SageMakerJobTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("status", "fields", "message"),
    [
        ("Completed", {}, None),
        ("Stopped", {}, None),
        ("Failed", {"FailureReason": "ClientError: x"}, "ClientError: x"),
    ],
)
def test_every_end_fires_one_event(
    aws: FakeSageMaker, hook: SageMakerHook, status: str, fields: Any, message: Any
):
    """The event says how the job ended; judging it is the task's business."""
    ensure_job(hook, processing_spec())
    described = aws.count("DescribeProcessingJob")

    def count_looks() -> int:
        return aws.count("ListProcessingJobs") + aws.count("DescribeProcessingJob") - described

    async def wait() -> dict[str, Any]:
        waiting = asyncio.create_task(event_of(trigger_for("work-0123-1")))
        await until(lambda: count_looks() >= 2)
        aws.end("work-0123-1", status, **fields)
        return await waiting

    assert asyncio.run(wait()) == {"status": status, "job_name": "work-0123-1", "message": message}
    assert count_looks() <= 20


def test_throttling_server_errors_and_cut_connections_are_outlived(aws: FakeSageMaker, hook: SageMakerHook):
    """Neither twenty throttles, ten 500s nor five connections that break end the wait."""
    ensure_job(hook, processing_spec())
    aws.refuse("DescribeProcessingJob", "ThrottlingException", "Rate exceeded", times=20)
    aws.refuse("DescribeProcessingJob", "InternalFailure", "oops", status=500, times=10)
    aws.drop_request("DescribeProcessingJob", times=5)
    aws.end("work-0123-1")
    before = aws.count("DescribeProcessingJob")
    assert asyncio.run(event_of(trigger_for("work-0123-1", max_poll_seconds=0.01)))["status"] == "Completed"
    assert aws.count("DescribeProcessingJob") - before == 36


def test_an_answer_that_waiting_cannot_change_ends_the_wait(aws: FakeSageMaker, hook: SageMakerHook):
    """A missing permission is told at once, with AWS's words."""
    ensure_job(hook, processing_spec())
    aws.refuse(
        "DescribeProcessingJob", "AccessDeniedException", "not authorized to perform DescribeProcessingJob"
    )
    event = asyncio.run(event_of(trigger_for("work-0123-1")))
    assert event["status"] == "error"
    assert "not authorized to perform DescribeProcessingJob" in event["message"]


def test_a_job_that_some_part_of_aws_does_not_know_yet_is_waited_for(aws: FakeSageMaker, hook: SageMakerHook):
    """The task has seen it a moment ago; a job of an hour ago that nobody knows is another matter."""
    ensure_job(hook, processing_spec())
    not_found = ("DescribeProcessingJob", "ValidationException", "Could not find requested job with name: x")
    aws.end("work-0123-1")
    aws.refuse(*not_found, times=3)
    trigger = trigger_for("work-0123-1", max_poll_seconds=0.01)
    assert asyncio.run(event_of(trigger))["status"] == "Completed"
    aws.refuse(*not_found)
    trigger = trigger_for("work-0123-1", max_poll_seconds=0.01, created_at=time.time() - 3600)
    assert asyncio.run(event_of(trigger))["status"] == "error"


def test_a_job_is_as_old_as_it_was_when_it_was_asked_for(aws: FakeSageMaker, hook: SageMakerHook):
    """A slow answer makes no new job an old one, of which AWS would have to know."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1")
    aws.refuse("DescribeProcessingJob", "ValidationException", "Could not find requested job with name: x")
    aws.delays["DescribeProcessingJob"] = 1.0
    asked = aws.count("DescribeProcessingJob")

    async def wait() -> dict[str, Any]:
        trigger = trigger_for("work-0123-1", max_poll_seconds=0.01)
        waiting = asyncio.create_task(event_of(trigger))
        await until(lambda: aws.count("DescribeProcessingJob") > asked)
        # The answer is made, and on its way: the job gets old now.
        trigger.created_at = time.time() - triggers._KNOWN_WITHIN_SECONDS
        aws.delays.clear()
        return await waiting

    assert asyncio.run(wait())["status"] == "Completed"
    assert aws.count("DescribeProcessingJob") == asked + 2


def test_on_kill_stops_a_job_that_aws_does_not_describe_yet(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """The task that deferred has seen it."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1")
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **_: {"r": {"t": "failed"}},
    )
    aws.refuse("DescribeProcessingJob", "ValidationException", "Could not find requested job with name: x")
    asyncio.run(trigger.on_kill())
    assert aws.status("work-0123-1") == "Stopping"


def test_expired_credentials_are_fetched_anew(aws: FakeSageMaker, hook: SageMakerHook):
    """A job may outlive the token its wait began with."""
    ensure_job(hook, processing_spec())
    aws.refuse("DescribeProcessingJob", "ExpiredTokenException", "The security token is expired", times=2)
    aws.end("work-0123-1")
    assert asyncio.run(event_of(trigger_for("work-0123-1", max_poll_seconds=0.01)))["status"] == "Completed"


def test_a_deadline_stops_the_job_and_says_so(aws: FakeSageMaker, hook: SageMakerHook, pauses: list[float]):
    """At the deadline, however long the pauses are; the stop is tagged, so that a later try knows it was ours."""
    job = ensure_job(hook, transform_spec())
    began = time.time()
    trigger = trigger_for(
        "score-0123-1", "Transform", first_poll_seconds=60, max_poll_seconds=60, deadline=began + 0.4
    )
    event = asyncio.run(event_of(trigger))
    assert time.time() - began >= 0.4
    assert sum(pauses) < 0.6
    assert event == {"status": "timeout", "job_name": "score-0123-1", "message": TIMED_OUT}
    assert aws.status("score-0123-1") == "Stopping"
    assert aws.tags[job.arn]["airflow:stopped-because"] == TIMED_OUT


def test_the_run_time_limit_counts_from_the_start_of_billing(aws: FakeSageMaker, hook: SageMakerHook):
    """Provisioning is free and takes minutes: only time on instances counts against max_runtime_seconds."""
    ensure_job(hook, transform_spec())

    async def wait() -> dict[str, Any]:
        trigger = trigger_for("score-0123-1", "Transform", max_runtime_seconds=0.5)
        waiting = asyncio.create_task(event_of(trigger))
        await asyncio.sleep(0.6)
        described = aws.count("DescribeTransformJob")
        await until(lambda: aws.count("DescribeTransformJob") >= described + 3)
        assert aws.status("score-0123-1") == "InProgress"
        aws.jobs["score-0123-1"]["TransformStartTime"] = time.time()
        return await waiting

    event = asyncio.run(wait())
    assert (event["status"], event["message"]) == ("timeout", RAN_TOO_LONG)
    assert aws.status("score-0123-1") == "Stopping"


@pytest.mark.parametrize(
    ("started", "message"),
    [(False, RAN_TOO_LONG), (True, "the model is out of order")],
    ids=["waits", "runs"],
)
def test_a_job_that_gets_no_instances_is_stopped_at_its_own_limit_and_one_that_runs_is_not(
    aws: FakeSageMaker, hook: SageMakerHook, started: bool, message: str
):
    """A trial, of which nobody should wait for capacity; what has begun has its limit of billed time."""
    ensure_job(hook, transform_spec())
    if started:
        aws.jobs["score-0123-1"]["TransformStartTime"] = time.time()

    async def wait() -> dict[str, Any]:
        trigger = trigger_for(
            "score-0123-1", "Transform", max_runtime_seconds=60.0, max_provisioning_seconds=0.5
        )
        waiting = asyncio.create_task(event_of(trigger))
        if started:
            # A job that was described after its limit to wait, and goes on, is known to have started.
            await asyncio.sleep(0.6)
            described = aws.count("DescribeTransformJob")
            await until(lambda: aws.count("DescribeTransformJob") >= described + 3)
            assert aws.status("score-0123-1") == "InProgress"
            aws.end("score-0123-1", "Failed", FailureReason=message)
        return await waiting

    event = asyncio.run(wait())
    assert event["message"] == message
    assert aws.status("score-0123-1") == ("Failed" if started else "Stopping")


@pytest.mark.parametrize("operation", ["ListTransformJobs", "DescribeTransformJob"])
def test_a_slow_answer_stops_no_job_that_has_started_meanwhile(
    aws: FakeSageMaker, hook: SageMakerHook, operation: str
):
    """Asked before the limit to wait for instances, answered after it."""
    ensure_job(hook, transform_spec())
    aws.delays[operation] = 1.0
    asked = aws.count(operation)

    async def wait() -> dict[str, Any]:
        max_poll = 0.01 if operation.startswith("Describe") else 60.0
        trigger = trigger_for(
            "score-0123-1", "Transform", max_poll_seconds=max_poll, max_provisioning_seconds=3600.0
        )
        waiting = asyncio.create_task(event_of(trigger))
        while aws.count(operation) == asked:
            await asyncio.sleep(0.01)
        # The answer is made, and on its way: the limit passes now.
        trigger.max_provisioning_seconds = time.time() - trigger.created_at
        aws.jobs["score-0123-1"]["TransformStartTime"] = time.time()
        aws.delays.clear()
        described = aws.count("DescribeTransformJob")
        while aws.count("DescribeTransformJob") == described and not waiting.done():
            await asyncio.sleep(0.05)
        aws.end("score-0123-1", "Failed", FailureReason="the model is out of order")
        return await waiting

    assert asyncio.run(wait())["message"] == "the model is out of order"
    assert aws.status("score-0123-1") == "Failed"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("deferred", "InProgress"),
        ("failed", "Stopping"),
        ("success", "Stopping"),
        ("scheduled", "Stopping"),
        (None, "Stopping"),
    ],
)
def test_on_kill_stops_the_job_unless_the_task_is_still_deferred(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch, state: str | None, status: str
):
    """Mark failed, mark success, clear and a deleted run stop the job; a hand-over to another triggerer does not."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1")
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
    states = {"r": {} if state is None else {"t": state}}
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states", lambda **_: states
    )
    aws.refuse("StopProcessingJob", "ThrottlingException", "Rate exceeded")
    asyncio.run(trigger.on_kill())
    assert aws.status("work-0123-1") == status


@pytest.mark.parametrize(
    ("version", "state", "timeout", "status"),
    [
        ((3, 0, 6), "failed", None, "Stopping"),  # marked
        ((3, 2, 2), None, None, "Stopping"),  # its run was deleted
        ((3, 0, 6), "deferred", None, "InProgress"),  # taken over, or the triggerer stops
        ((3, 0, 6), "scheduled", datetime(2020, 1, 1), "InProgress"),
        ((3, 3, 0), "failed", None, "InProgress"),  # Airflow itself calls on_kill
    ],
)
def test_before_airflow_3_3_a_cancelled_wait_stops_the_job(
    aws: FakeSageMaker,
    hook: SageMakerHook,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, ...],
    state: str | None,
    timeout: datetime | None,
    status: str,
):
    """These versions call `cleanup` at each end of a trigger, and nothing else."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1", first_poll_seconds=60)
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
    monkeypatch.setattr("sagemaker_jobs.airflow_compat.AIRFLOW_VERSION", version)
    monkeypatch.setattr(trigger, "timeout_after", timeout, raising=False)
    states = {"r": {} if state is None else {"t": state}}
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states", lambda **_: states
    )

    async def cancel_wait() -> None:
        async def run_trigger() -> None:
            """What the triggerer of Airflow 3.0 does, in essence."""
            try:
                await event_of(trigger)
            finally:
                await trigger.cleanup()

        running = asyncio.create_task(run_trigger())
        await asyncio.sleep(0.3)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(cancel_wait())
    assert aws.status("work-0123-1") == status


def test_a_wait_that_has_fired_leaves_its_job_alone(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """`cleanup` follows the event, too; the job may be one that the next task needs."""
    ensure_job(hook, processing_spec())
    monkeypatch.setattr("sagemaker_jobs.airflow_compat.AIRFLOW_VERSION", (3, 0, 6))
    trigger = trigger_for("work-0123-1")
    monkeypatch.setattr(trigger, "on_kill", None)
    aws.end("work-0123-1")
    assert asyncio.run(event_of(trigger))["status"] == "Completed"
    asyncio.run(trigger.cleanup())


def test_on_kill_leaves_the_job_when_the_state_cannot_be_known(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Stopping a live job loses money for certain; a teardown or the janitor stops what must be stopped."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1")
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)

    def fails(**_: Any) -> None:
        raise ConnectionError("no api-server")

    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states", fails)
    asyncio.run(trigger.on_kill())
    assert aws.status("work-0123-1") == "InProgress"


def test_the_first_trigger_of_a_process_asks_for_its_state_before_on_kill_must(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """The first question takes Airflow's supervisor long; it is asked once, and nobody waits for its answer."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1")
    asked: list[list[str]] = []
    monkeypatch.setattr("sagemaker_jobs.triggers._is_warmed_up", False)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **query: asked.append(query["task_ids"]) or {},
    )

    async def wait(trigger: SageMakerJobTrigger) -> dict[str, Any]:
        event = await event_of(trigger)
        await until(lambda: bool(asked))
        return event

    for _ in range(3):
        trigger = trigger_for("work-0123-1")
        trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
        assert asyncio.run(wait(trigger))["status"] == "Completed"
    assert asked == [["t"]]


def test_on_kill_survives_the_cancellations_that_airflow_repeats(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Airflow 3.3.2 cancels the trigger anew each second while on_kill works, and waits for it no longer."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1")
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)

    may_answer = threading.Event()

    def slow_to_answer(**_: Any) -> Any:
        assert may_answer.wait(60)
        return {"r": {"t": "failed"}}

    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states", slow_to_answer
    )

    async def run_trigger() -> None:
        """What Airflow's triggerer does around on_kill, in essence."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(trigger.on_kill(), timeout=30)

    async def user_marks_failed() -> None:
        running = asyncio.create_task(run_trigger())
        try:
            for _ in range(6):
                await asyncio.sleep(0.1)
                running.cancel("user-action")
            await running
            assert aws.status("work-0123-1") == "InProgress"
        finally:
            may_answer.set()
        await until(lambda: aws.status("work-0123-1") != "InProgress")

    asyncio.run(user_marks_failed())
    assert aws.status("work-0123-1") == "Stopping"


def test_on_kill_of_a_mapped_task_finds_its_own_state(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """Airflow lists a mapped task instance under its id and index."""
    ensure_job(hook, processing_spec())
    trigger = trigger_for("work-0123-1")
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=3)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **_: {"r": {"t_3": "deferred"}},
    )
    asyncio.run(trigger.on_kill())
    assert aws.status("work-0123-1") == "InProgress"


def test_five_hundred_waiting_jobs_are_cheap(
    aws: FakeSageMaker,
    hook: SageMakerHook,
    monkeypatch: pytest.MonkeyPatch,
    pauses: list[float],
    readings: list[float],
):
    """One client, fewer than twenty calls in any second, List instead of Describe, and a responsive event loop."""
    for number in range(500):
        name = f"many-{number:04}"
        aws.jobs[name] = {
            "TransformJobName": name,
            "TransformJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:transform-job/{name}",
            "TransformJobStatus": "InProgress",
            "CreationTime": time.time(),
        }
    turns: list[float] = []
    costs: list[float] = []
    acquire, run_callback = RateLimiter.acquire, asyncio.Handle._run

    async def note_turn(limiter: RateLimiter) -> None:
        await acquire(limiter)
        turns.append(readings[-1])

    def measure(handle: asyncio.Handle) -> None:
        """The loop's own work, without what other threads and processes take."""
        began = time.thread_time()
        run_callback(handle)
        costs.append(time.thread_time() - began)

    async def wait() -> list[dict[str, Any]]:
        names = sorted(aws.jobs)
        made = [trigger_for(name, "Transform", first_poll_seconds=1, max_poll_seconds=3) for name in names]
        # The first brings up the client, whose model takes a moment to read, as any first trigger does.
        waiting = [asyncio.create_task(event_of(made[0]))]
        await until(lambda: len(pauses) > 1)
        monkeypatch.setattr(asyncio.Handle, "_run", measure)
        waiting += [asyncio.create_task(event_of(trigger)) for trigger in made[1:]]
        await until(lambda: len(pauses) >= 1500 and aws.count("ListTransformJobs") >= 10)
        for name in names[:20]:
            aws.end(name)
        done = await asyncio.gather(*waiting[:20])
        for task in waiting[20:]:
            task.cancel()
        await asyncio.gather(*waiting[20:], return_exceptions=True)
        return done

    monkeypatch.setattr(RateLimiter, "acquire", note_turn)
    done = asyncio.run(wait())
    assert [event["status"] for event in done] == ["Completed"] * 20
    assert len(aws.calls) <= len(turns)
    busiest = max(sum(start <= at < start + 1 for at in turns) for start in turns)
    assert busiest <= CALLS_PER_SECOND + 1 < 20
    assert aws.count("DescribeTransformJob") < 150
    # Of the looks, about one in a hundred a call, none takes long: collections of garbage apart.
    assert sum(costs) < 0.005 * len(pauses)
    assert sorted(costs)[-4] < 0.1


def test_one_job_is_described_once_in_its_longest_pause(
    aws: FakeSageMaker, hook: SageMakerHook, pauses: list[float]
):
    """The early looks, which find a short job's end soon, ask List: one call for all who wait."""
    ensure_job(hook, processing_spec())
    before = aws.count("DescribeProcessingJob")

    async def wait() -> dict[str, Any]:
        trigger = trigger_for("work-0123-1", first_poll_seconds=0.1, max_poll_seconds=600)
        waiting = asyncio.create_task(event_of(trigger))
        await until(lambda: aws.count("ListProcessingJobs") >= 2)
        aws.end("work-0123-1")
        return await waiting

    assert asyncio.run(wait())["status"] == "Completed"
    # The one that sees the end. A List is fresh for two seconds.
    assert aws.count("DescribeProcessingJob") - before == 1
    assert aws.count("ListProcessingJobs") == 3
    assert sum(pauses) < 15


@pytest.mark.parametrize(("ago", "pause"), [(60, 5), (-60, 0.2)], ids=["began late", "clock behind"])
def test_the_first_look_is_timed_from_the_deferral(
    aws: FakeSageMaker, hook: SageMakerHook, pauses: list[float], ago: float, pause: float
):
    """What a triggerer took to begin is not waited for again; a clock that is behind prolongs nothing."""
    ensure_job(hook, processing_spec())
    aws.end("work-0123-1")
    trigger = trigger_for("work-0123-1", first_poll_seconds=pause, deferred_at=time.time() - ago)
    assert asyncio.run(event_of(trigger))["status"] == "Completed"
    assert len(pauses) == 1
    assert pauses[0] < 0.3


def test_early_looks_are_left_out_where_jobs_may_not_be_listed(
    aws: FakeSageMaker, hook: SageMakerHook, pauses: list[float]
):
    """Describe when it is due, and not before."""
    ensure_job(hook, processing_spec())
    before = aws.count("DescribeProcessingJob")
    aws.refuse("ListProcessingJobs", "AccessDeniedException", "not authorized", times=99)
    aws.end("work-0123-1")

    async def wait() -> dict[str, Any]:
        trigger = trigger_for("work-0123-1", first_poll_seconds=0.02, max_poll_seconds=600)
        waiting = asyncio.create_task(event_of(trigger))
        await until(lambda: len(pauses) == 6)
        assert aws.count("DescribeProcessingJob") == before
        trigger.max_poll_seconds = 0.01
        return await waiting

    assert asyncio.run(wait())["status"] == "Completed"
    assert len(pauses) == 6
    assert aws.count("DescribeProcessingJob") - before == 1
    assert aws.count("ListProcessingJobs") == 1


def test_describe_takes_over_where_list_is_not_allowed(aws: FakeSageMaker, hook: SageMakerHook):
    """A role that may not list jobs waits all the same."""
    for number in range(10):
        name = f"many-{number:04}"
        aws.jobs[name] = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:processing-job/{name}",
            "ProcessingJobStatus": "InProgress",
            "CreationTime": time.time(),
        }
    aws.refuse("ListProcessingJobs", "AccessDeniedException", "not authorized", times=99)

    async def wait() -> list[dict[str, Any]]:
        waiting = [asyncio.create_task(event_of(trigger_for(name))) for name in sorted(aws.jobs)]
        await asyncio.sleep(1)
        for name in list(aws.jobs):
            aws.end(name)
        return await asyncio.gather(*waiting)

    assert {event["status"] for event in asyncio.run(wait())} == {"Completed"}
    assert aws.count("ListProcessingJobs") == 1


def test_the_pacer_spreads_a_crowd_evenly(monkeypatch: pytest.MonkeyPatch):
    """Thirty callers at once go one after the other, in the order in which they asked, as the rate says."""
    now = 1000.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(polling, "asyncio", SimpleNamespace(Lock=asyncio.Lock, sleep=sleep))
    turns: list[tuple[int, float]] = []

    async def call(pacer: RateLimiter, number: int) -> None:
        await pacer.acquire()
        turns.append((number, now))

    async def crowd() -> None:
        pacer = RateLimiter(100)
        await asyncio.gather(*(call(pacer, number) for number in range(30)))

    asyncio.run(crowd())
    assert [number for number, _ in turns] == list(range(30))
    assert [at - 1000.0 for _, at in turns] == pytest.approx([number / 100 for number in range(30)])


def test_after_a_stall_of_the_loop_the_pacer_keeps_its_rate(readings: list[float]):
    """Those who waited meanwhile do not all go at once."""
    turns: list[float] = []

    async def call(pacer: RateLimiter) -> None:
        await pacer.acquire()
        turns.append(readings[-1])

    async def crowd() -> None:
        pacer = RateLimiter(20)
        calls = [asyncio.create_task(call(pacer)) for _ in range(10)]
        await until(lambda: len(turns) >= 2)
        time.sleep(0.5)  # the stall
        await asyncio.gather(*calls)

    asyncio.run(crowd())
    assert len(turns) == 10
    assert min(later - earlier for earlier, later in pairwise(turns)) > 0.049
