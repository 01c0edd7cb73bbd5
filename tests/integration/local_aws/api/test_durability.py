"""What survives the server, however it ends, and what does not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from batch_inference.cli.laptop.environment import LaptopError
from local_aws.faults import FaultInjector
from local_aws.jobs.capacity import Capacity
from local_aws.jobs.job import JobThread, SharedJobContext
from local_aws.jobs.process import SweeperProcess
from local_aws.settings import Settings
from local_aws.state.jobs import Job, JobKindName
from local_aws.state.store import Store
from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import (
    model_request,
    processing_request,
    transform_request,
    wait_until_empty,
    wait_until_ended,
    wait_until_started,
)
from tests.integration.local_aws.servers import Server, run_server

pytestmark = pytest.mark.local_only

REASON = (
    "InternalServerError: We encountered an internal error.  Please try again. "
    "(the embedded AWS was stopped while this job ran)"
)


DYING_RUNNER = """
import json, os, time
print(json.dumps({"event": "started", "time": time.time()}), flush=True)
os.kill(os.getpid(), 9)
"""


def _is_running(pid: int) -> bool:
    """Whether the process exists and has not ended; it may end while it is looked at."""
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def _gone(processes: list[int], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_is_running(one) for one in processes):
            return True
        time.sleep(0.05)
    return False


def _leave_jobs(server: Server, name: str, tmp_path: Path) -> list[int]:
    """Two jobs at work, deaf to SIGTERM, one with a child; their processes, once they run."""
    sagemaker = server.client("sagemaker")
    files = [tmp_path / f"{name}-{number}.pids" for number in range(2)]
    for number, path in enumerate(files):
        request = processing_request(
            f"{name}-{number}", Environment={"SECONDS": "600", "DEAF": "1", "CHILD": str(path)}
        )
        sagemaker.create_processing_job(**request)
        wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=f"{name}-{number}")
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(server.process.pid).children(recursive=True)
    listed = [int(number) for path in files for number in path.read_text().split()]
    assert set(listed) <= {child.pid for child in children}
    return [child.pid for child in children]


def _fill(server: Server, name: str) -> dict[str, Any]:
    """Something of everything: bucket, object, log, role, model, tags, and a completed job."""
    s3, logs, iam, sagemaker = (server.client(service) for service in ("s3", "logs", "iam", "sagemaker"))
    s3.create_bucket(Bucket="kept-bucket")
    s3.put_object(Bucket="kept-bucket", Key="a/small", Body=b"1,2\n", Metadata={"with_underscore": "x"})
    s3.put_object(Bucket="kept-bucket", Key="a/large", Body=bytes(6_000_000))
    logs.create_log_group(logGroupName="/aws/sagemaker/TransformJobs")
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument="{}")
    sagemaker.create_model(**model_request(name), Tags=[{"Key": "k", "Value": "v"}])
    sagemaker.create_transform_job(**transform_request(name, name, "s3://kept-bucket/a/"))
    return wait_until_ended(sagemaker.describe_transform_job, TransformJobName=name)


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_keeps_everything_and_leaves_nothing_running(
    start_server: Any, name: str, tmp_path: Path, number: signal.Signals
) -> None:
    """Jobs, models, tags, S3 with its metadata, logs and roles are back; what ran is Failed, with the reason."""
    server = start_server({**FAST, "shutdown_grace_seconds": 0.5})
    done = _fill(server, name)
    processes = _leave_jobs(server, name, tmp_path)
    assert server.stop(number) == 0
    assert _gone(processes)
    assert wait_until_empty(server.data_dir / "work")

    again = start_server(FAST)
    sagemaker, s3 = again.client("sagemaker"), again.client("s3")
    assert _plain(sagemaker.describe_transform_job(TransformJobName=name)) == _plain(done)
    arn = sagemaker.describe_model(ModelName=name)["ModelArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    for job in range(2):
        left = sagemaker.describe_processing_job(ProcessingJobName=f"{name}-{job}")
        assert (left["ProcessingJobStatus"], left["FailureReason"]) == ("Failed", REASON)
        assert left["ProcessingEndTime"] >= left["ProcessingStartTime"]
    small = s3.get_object(Bucket="kept-bucket", Key="a/small")
    assert (small["Body"].read(), small["Metadata"]) == (b"1,2\n", {"with_underscore": "x"})
    assert s3.get_object(Bucket="kept-bucket", Key="a/large")["Body"].read() == bytes(6_000_000)
    groups = again.client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/sagemaker/TransformJobs"]
    assert again.client("iam").get_role(RoleName="kept")["Role"]["RoleName"] == "kept"
    # The name stays used up.
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_transform_job(**transform_request(name, name, "s3://kept-bucket/a/"))


def test_a_killed_server_leaves_no_process_and_no_directory(
    start_server: Any, name: str, tmp_path: Path
) -> None:
    """kill -9: what was at work dies at once, and after a restart those jobs are Failed with the reason."""
    server = start_server(FAST)
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(**model_request(name))
    sagemaker.create_processing_job(**processing_request(f"{name}-done"))
    done = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=f"{name}-done")
    processes = _leave_jobs(server, name, tmp_path)
    assert len(list((server.data_dir / "work").glob("*/*/SPEC.json"))) == 2
    server.stop(signal.SIGKILL)
    assert _gone(processes)
    assert wait_until_empty(server.data_dir / "work")

    sagemaker = start_server(FAST).client("sagemaker")
    sagemaker.describe_model(ModelName=name)
    assert _plain(sagemaker.describe_processing_job(ProcessingJobName=f"{name}-done")) == _plain(done)
    for job in range(2):
        left = sagemaker.describe_processing_job(ProcessingJobName=f"{name}-{job}")
        assert (left["ProcessingJobStatus"], left["FailureReason"]) == ("Failed", REASON)


def test_when_the_sweeper_was_killed_too_the_next_start_tidies_up(
    start_server: Any, name: str, tmp_path: Path
) -> None:
    """Runners die with the server's threads all the same; the directories go at the next start."""
    server = start_server(FAST)
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**processing_request(name, Environment={"SECONDS": "600", "DEAF": "1"}))
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    processes = {child.pid: child.cmdline() for child in psutil.Process(server.process.pid).children()}
    for process, command in processes.items():
        if any(part.endswith("sweeper.py") for part in command):
            os.kill(process, signal.SIGKILL)
    server.stop(signal.SIGKILL)
    assert _gone(list(processes))
    (left,) = (server.data_dir / "work").iterdir()
    again = start_server(FAST)
    assert not left.exists()
    assert again.local("GET", "health") == {"status": "ok", "active_jobs": {}}


def _state(server: Server, statement: str) -> list[Any]:
    """What an SQL statement on the server's state gives; committed."""
    with contextlib.closing(sqlite3.connect(server.data_dir / "state.sqlite", timeout=30)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def _last_beat(server: Server) -> float:
    ((beat,),) = _state(server, "SELECT beat_at FROM heartbeat")
    return float(beat)


@pytest.mark.parametrize("kind", ["processing", "transform"])
def test_the_downtime_after_a_kill_is_not_billed(start_server: Any, name: str, kind: str) -> None:
    """A job that died with the server ended at its last heartbeat, however long the server was away."""
    server = start_server(FAST)
    sagemaker = server.client("sagemaker")
    if kind == "processing":
        sagemaker.create_processing_job(**processing_request(name, Environment={"SECONDS": "600"}))
        wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    else:
        server.client("s3").create_bucket(Bucket="kept-bucket")
        server.client("s3").put_object(Bucket="kept-bucket", Key="a/b", Body=b"1\n")
        sagemaker.create_model(**model_request(name))
        sagemaker.create_transform_job(
            **transform_request(name, name, "s3://kept-bucket/a/", Environment={"SECONDS": "600"})
        )
        wait_until_started(sagemaker.describe_transform_job, TransformJobName=name)
    # A second into the job: so that the beat counts, and not the change of state at the job's start.
    ((start,),) = _state(server, "SELECT started_at FROM jobs")
    deadline = time.monotonic() + 30
    while _last_beat(server) <= start + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop(signal.SIGKILL)
    # The server was away for an hour: everything that it wrote is an hour old.
    _state(
        server,
        "UPDATE jobs SET created_at = created_at - 3600, modified_at = modified_at - 3600, "
        "started_at = started_at - 3600",
    )
    _state(server, "UPDATE heartbeat SET beat_at = beat_at - 3600")
    ((begun, beat),) = _state(server, "SELECT started_at, beat_at FROM jobs, heartbeat")

    again = start_server(FAST)
    describe = getattr(again.client("sagemaker"), f"describe_{kind}_job")
    left = describe(**{f"{kind.title()}JobName": name})
    assert left[f"{kind.title()}EndTime"].timestamp() == pytest.approx(beat, abs=0.001)
    (used,) = again.local("GET", "usage")["jobs"]
    assert used["ended_at"] == beat
    assert 1 < beat - begun <= used["billed_seconds"] < 60


@pytest.mark.parametrize("kind", ["processing", "transform"])
def test_the_tidying_after_a_killed_runner_is_not_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: JobKindName
) -> None:
    """The runner dies by kill -9 while the server lives: the job ended then, not when what it left was removed."""
    store = Store(tmp_path / "state.sqlite").jobs
    job = Job(
        kind=kind,
        region="us-east-1",
        name="j",
        name_key="j",
        arn="arn",
        status="InProgress",
        request={},
        containers=[],
        network_isolation=False,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        created_at=1.0,
        modified_at=1.0,
    )
    store.create(job, {})
    removed_at: list[float] = []
    monkeypatch.setattr("local_aws.jobs.job.sweep", lambda *_: removed_at.append(time.time()))
    guard = SweeperProcess(tmp_path / "work")
    around = SharedJobContext(
        settings=Settings(provisioning_seconds=0.0),
        job_table=store,
        command=(sys.executable, "-S", "-c", DYING_RUNNER),
        environment=os.environ,
        s3_endpoint_url="",
        logs_endpoint_url="",
        log_dir=tmp_path,
        capacity=Capacity({}, FaultInjector([])),
        sweeper_process=guard,
    )
    thread = JobThread(job, [("ml.m5.xlarge", 1)], [], tmp_path / "work" / "j", around)
    thread.start()
    thread.join()
    guard.close()
    ended = store.get(kind, "us-east-1", "j")
    assert ended is not None
    assert ended.status == "Failed"
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at <= removed_at[0]


def test_a_job_that_began_after_the_last_heartbeat_ends_no_earlier_than_it_began(
    start_server: Any, name: str
) -> None:
    server = start_server(FAST)
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**processing_request(name, Environment={"SECONDS": "600"}))
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    server.stop(signal.SIGKILL)
    _state(server, "UPDATE heartbeat SET beat_at = beat_at - 3600")
    left = start_server(FAST).client("sagemaker").describe_processing_job(ProcessingJobName=name)
    assert left["ProcessingEndTime"] >= left["ProcessingStartTime"]


def test_state_without_a_heartbeat_is_read(start_server: Any, name: str) -> None:
    """Its jobs ended when their state last changed."""
    server = start_server(FAST)
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**processing_request(name, Environment={"SECONDS": "600"}))
    wait_until_started(sagemaker.describe_processing_job, ProcessingJobName=name)
    server.stop(signal.SIGKILL)
    _state(server, "DELETE FROM heartbeat")
    ((changed,),) = _state(server, "SELECT modified_at FROM jobs")
    left = start_server(FAST).client("sagemaker").describe_processing_job(ProcessingJobName=name)
    assert left["ProcessingEndTime"].timestamp() == pytest.approx(changed, abs=0.001)


def test_a_job_waiting_for_instances_at_the_kill_is_failed_too(start_server: Any, name: str) -> None:
    """It never started, so it has no start time and nothing is billed."""
    settings = {**FAST, "provisioning_seconds": 600}
    server = start_server(settings)
    server.client("sagemaker").create_processing_job(**processing_request(name))
    server.stop(signal.SIGKILL)
    again = start_server(settings)
    left = again.client("sagemaker").describe_processing_job(ProcessingJobName=name)
    assert (left["ProcessingJobStatus"], left["FailureReason"]) == ("Failed", REASON)
    assert "ProcessingStartTime" not in left
    assert again.local("GET", "usage")["jobs"][0]["billed_seconds"] == 0


def test_a_saved_s3_that_does_not_load_is_named(start_server: Any, tmp_path: Path) -> None:
    """Rather than starting without the user's objects."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "moto.pickle").write_bytes(b"not a pickle")
    with pytest.raises(LaptopError, match="Move the file away to start with an empty S3"):
        start_server(FAST)


def test_state_of_another_version_is_named(start_server: Any, tmp_path: Path) -> None:
    """Rather than read as if it were this one's."""
    (tmp_path / "data").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "state.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LaptopError, match="has version 99 of the embedded AWS's state, this program needs"):
        start_server(FAST)


def test_jobs_use_another_s3_when_its_endpoint_is_given(start_server: Any, name: str, tmp_path: Path) -> None:
    """The prefix is looked up there, and the runner is told that endpoint; logs stay here."""
    other = start_server(FAST, data_dir="other")
    server = start_server({**FAST, "s3_endpoint_url": other.url}, AWS_ACCESS_KEY_ID="mine")
    other.client("s3").create_bucket(Bucket="elsewhere")
    other.client("s3").put_object(Bucket="elsewhere", Key="in/x", Body=b"1\n")
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(**model_request(name))
    path = tmp_path / "spec.json"
    sagemaker.create_transform_job(
        **transform_request(name, name, "s3://elsewhere/in/", Environment={"SPEC": str(path)})
    )
    wait_until_ended(sagemaker.describe_transform_job, TransformJobName=name)
    spec = json.loads(path.read_text())
    assert (spec["s3_endpoint_url"], spec["logs_endpoint_url"]) == (other.url, server.url)


def test_state_is_for_the_eyes_of_its_owner_alone(tmp_path: Path) -> None:
    """Objects, requests, logs, what jobs leave; also below a folder that an older version left open to all."""
    data_dir = tmp_path / "aws"
    data_dir.mkdir(mode=0o755)
    with run_server(data_dir, FAST) as server:
        server.client("s3").create_bucket(Bucket="bucket")
        sagemaker = server.client("sagemaker")
        sagemaker.create_processing_job(**processing_request("private", Environment={"SAY": "not an event"}))
        wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName="private")
        server.stop()
    found = [data_dir, *data_dir.rglob("*")]
    assert {"aws", "state.sqlite", "moto.pickle", "processing-private.log"} <= {path.name for path in found}
    assert [path for path in found if path.stat().st_mode & 0o077] == []
