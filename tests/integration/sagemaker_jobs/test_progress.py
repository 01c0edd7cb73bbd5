"""How far a transform is, where that can be told for a few calls of S3."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.triggers import SageMakerJobTrigger
from sagemaker_jobs.waiting.transform_progress import (
    MAX_COUNTED_OBJECTS,
    count_objects,
    count_objects_for_progress,
    format_progress,
)
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker


@pytest.fixture
def s3(moto_url: str) -> Any:
    """A client, and s3://bucket/ with seven inputs of which three are done."""
    client = boto3.Session("x", "x", region_name="us-east-1").client("s3", endpoint_url=moto_url)
    client.create_bucket(Bucket="bucket")
    keys = ["run/features/", *(f"run/features/part-{number}.csv" for number in range(7))]
    keys += [f"run/score-0123-1/predictions/part-{number}.csv.out" for number in range(3)]
    for key in keys:
        client.put_object(Bucket="bucket", Key=key, Body=b"1")
    yield client
    for key in keys:
        client.delete_object(Bucket="bucket", Key=key)


def test_inputs_and_outputs_are_counted(aws: FakeSageMaker, hook: SageMakerHook, s3: Any):
    """Folder keys are no objects; only .out objects are outputs."""
    job = ensure_job(hook, transform_spec())
    assert count_objects_for_progress(hook, job) == 7
    assert count_objects(s3, "s3://bucket/run/score-0123-1/predictions/", suffix=".out") == 3


def test_a_manifest_counts_its_entries(aws: FakeSageMaker, hook: SageMakerHook, s3: Any):
    """Its first element is the prefix."""
    s3.put_object(
        Bucket="bucket", Key="m.json", Body=json.dumps([{"prefix": "s3://bucket/"}, "a", "b"]).encode()
    )
    spec = transform_spec()
    spec.request["TransformInput"]["DataSource"]["S3DataSource"] = {
        "S3DataType": "ManifestFile",
        "S3Uri": "s3://bucket/m.json",
    }
    assert count_objects_for_progress(hook, ensure_job(hook, spec)) == 2


def test_what_cannot_be_told_is_not_told(aws: FakeSageMaker, hook: SageMakerHook, s3: Any):
    """A processing job, outputs that other jobs share, and an input that may not be listed."""
    assert count_objects_for_progress(hook, ensure_job(hook, processing_spec())) is None
    shared = transform_spec()
    shared.request["TransformOutput"]["S3OutputPath"] = "s3://bucket/run/predictions/"
    assert count_objects_for_progress(hook, ensure_job(hook, shared)) is None
    aws.reset()
    missing = transform_spec()
    missing.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://no-such-bucket-here/x/"
    assert count_objects_for_progress(hook, ensure_job(hook, missing)) is None


def test_a_huge_input_is_not_counted_to_its_end():
    """Five thousand objects are five calls."""

    class Endless:
        calls = 0

        def list_objects_v2(self, **_: Any) -> dict[str, Any]:
            self.calls += 1
            contents = [{"Key": f"p/{number}"} for number in range(1000)]
            return {"Contents": contents, "IsTruncated": True, "NextContinuationToken": str(self.calls)}

    endless = Endless()
    assert count_objects(endless, "s3://bucket/p/", suffix="") is None
    assert endless.calls == MAX_COUNTED_OBJECTS // 1000 + 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """The time at which the clock of what is told stands still."""
    now = float(int(time.time()))
    clock = SimpleNamespace(time=lambda: now, monotonic=time.monotonic)
    monkeypatch.setattr("sagemaker_jobs.triggers.time", clock)
    monkeypatch.setattr("sagemaker_jobs.waiting.transform_progress.time", clock)
    return now


def test_the_estimate_takes_objects_as_alike(now: float):
    """Without a start, or at either end, there is none."""
    began = now - 30
    assert format_progress(3, 4, began) == "3 of 4 objects done, about 10 s left"
    assert [format_progress(0, 4, began), format_progress(4, 4, began), format_progress(2, 4, None)] == [
        "0 of 4 objects done",
        "4 of 4 objects done",
        "2 of 4 objects done",
    ]


def test_the_trigger_logs_state_time_and_progress(
    aws: FakeSageMaker, hook: SageMakerHook, s3: Any, monkeypatch: pytest.MonkeyPatch, now: float
):
    """In the task's log, while it waits."""
    ensure_job(hook, transform_spec())
    aws.jobs["score-0123-1"]["TransformStartTime"] = now - 30
    trigger = SageMakerJobTrigger(
        kind="Transform",
        job_name="score-0123-1",
        created_at=now - 40,
        output_uri="s3://bucket/run/score-0123-1/predictions/",
        object_count=7,
        first_poll_seconds=0.1,
        max_poll_seconds=0.05,  # so that each look may describe the job, which tells its start
    )
    lines: list[str] = []
    monkeypatch.setattr(trigger.log, "info", lambda text, *values: lines.append(text % values))

    async def wait() -> None:
        async for _ in trigger.run():
            return

    async def until_told() -> None:
        waiting = asyncio.create_task(wait())
        while len(lines) < 2:
            await asyncio.sleep(0.05)
        aws.end("score-0123-1")
        await waiting

    asyncio.run(until_told())
    assert lines[:2] == [
        "score-0123-1 is InProgress, 30 s on instances.",
        "score-0123-1: 3 of 7 objects done, about 40 s left.",
    ]
