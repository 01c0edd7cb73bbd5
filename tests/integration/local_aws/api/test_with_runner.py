"""The control plane with the real runner and real containers: what only shows when they meet."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from tests.integration.local_aws.api.requests import (
    processing_request,
    wait_until_empty,
    wait_until_ended,
    wait_until_started,
)
from tests.integration.local_aws.servers import Server

pytestmark = pytest.mark.local_only

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
FAST = {"provisioning_seconds": 0, "runner.processing_stop_grace_seconds": 0.5, "shutdown_grace_seconds": 1}


def _request(name: str, code: str, count: int = 1) -> dict[str, Any]:
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1}
    return processing_request(
        name,
        AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", code]},
        ProcessingResources={"ClusterConfig": cluster},
    )


def _at_work(marker: str) -> list[int]:
    """Processes with `marker` in their command line: containers, and what wraps them."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != "zombie"
        and any(marker in part for part in process.info["cmdline"] or [])
    ]


def _gone(marker: str) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not _at_work(marker):
            return True
        time.sleep(0.1)
    return False


def _sleeping_job(server: Server, name: str) -> str:
    """A job on two hosts, whose containers sleep; returns a marker of their command lines."""
    marker = f"marker-{name}"
    server.client("sagemaker").create_processing_job(
        **_request(name, f"'{marker}'; import time; print('up', flush=True); time.sleep(600)", count=2)
    )
    wait_until_started(server.client("sagemaker").describe_processing_job, ProcessingJobName=name)
    deadline = time.monotonic() + 120
    while len(_at_work(marker)) < 2:
        assert time.monotonic() < deadline, "the containers did not start"
        time.sleep(0.1)
    return marker


def test_a_job_runs_to_its_end_and_is_accounted_for(start_server: Any, name: str) -> None:
    """ExitMessage, times, busy seconds of each host; no work directory is left."""
    server = start_server(FAST)
    code = "print('up'); open('/opt/ml/output/message', 'w').write('hello'); import time; time.sleep(1)"
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**_request(name, code, count=2))
    last = wait_until_ended(sagemaker.describe_processing_job, seconds=60, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Completed", last
    assert "hello" in last["ExitMessage"]
    (usage,) = server.local("GET", "usage")["jobs"]
    assert [host["host"] for host in usage["instances"]] == ["algo-1", "algo-2"]
    assert 2.0 <= usage["busy_seconds"] <= usage["billed_instance_seconds"]
    assert wait_until_empty(server.data_dir / "work", "*/*")
    groups = server.client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/sagemaker/ProcessingJobs"]


def test_stop_ends_the_containers(start_server: Any, name: str) -> None:
    """Stopping, then Stopped, and none of them is left."""
    server = start_server(FAST)
    marker = _sleeping_job(server, name)
    sagemaker = server.client("sagemaker")
    sagemaker.stop_processing_job(ProcessingJobName=name)
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Stopped"
    assert _gone(marker)


@pytest.mark.parametrize("isolation", ["auto", "base_dir"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_containers_do_not_outlive_the_server(
    start_server: Any, name: str, number: signal.Signals, isolation: str
) -> None:
    """However it ends, with and without namespaces."""
    server = start_server({**FAST, "runner.isolation": isolation})
    marker = _sleeping_job(server, name)
    server.stop(number)
    assert _gone(marker)
    assert wait_until_empty(server.data_dir / "work")


def _get_peak_percent(server: Server, job: str) -> float:
    """MemoryUtilization of a processing job's only host, 0 before there is a data point."""
    now = datetime.now(UTC)
    points = server.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/ProcessingJobs",
        MetricName="MemoryUtilization",
        Dimensions=[{"Name": "Host", "Value": f"{job}/algo-1"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["Maximum"],
    )["Datapoints"]
    return float(max((point["Maximum"] for point in points), default=0))


def test_memory_of_an_instance_type_is_a_limit_and_a_metric(start_server: Any, name: str) -> None:
    """Settings of a type reach its jobs, and CloudWatch has what they used, also after a restart."""
    types = {"ml.m5.large": {"memory_mb": 100}}
    settings = {**FAST, "runner.instance_types": types, "runner.metric_seconds": 0.5}
    server = start_server(settings)
    sagemaker = server.client("sagemaker")
    for suffix, megabytes in (("fits", 65), ("exceeds", 200)):
        waits = "[time.sleep(0.05) for _ in iter(lambda: os.path.exists('/opt/ml/go'), True)]"
        code = f"memory = b'1' * {megabytes}_000_000; import os, time; {waits}"
        sagemaker.create_processing_job(**_request(f"{name}-{suffix}", code))
    wait_until_ended(sagemaker.describe_processing_job, seconds=120, ProcessingJobName=f"{name}-exceeds")
    # The other one holds its memory until the runner has seen it.
    deadline = time.monotonic() + 120
    while _get_peak_percent(server, f"{name}-fits") < 60:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (folder,) = server.data_dir.glob("work/*/*/algo-1/ml")
    (folder / "go").touch()
    reasons = {}
    for suffix in ("fits", "exceeds"):
        job = wait_until_ended(
            sagemaker.describe_processing_job, seconds=60, ProcessingJobName=f"{name}-{suffix}"
        )
        reasons[suffix] = job.get("FailureReason")
    assert reasons == {
        "fits": None,
        "exceeds": "ClientError: Please use an instance type with more memory, or reduce the size of job data "
        "processed on an instance.",
    }
    server.stop(signal.SIGTERM)
    again = start_server(settings)
    percent = {suffix: _get_peak_percent(again, f"{name}-{suffix}") for suffix in ("fits", "exceeds")}
    assert 60 <= percent["fits"] < 100 == percent["exceeds"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("kill_container", "AlgorithmError: "),
        ("lose_instance", "InternalServerError: We encountered an internal error."),
    ],
)
def test_a_container_or_an_instance_can_be_lost_on_demand(
    start_server: Any, name: str, kind: str, reason: str
) -> None:
    """The job fails as AWS fails it, and the fault is used up: the next job runs to its end."""
    server = start_server(FAST)
    server.local("POST", "faults", {"kind": kind, "host": "algo-2", "after_seconds": 0.3})
    sagemaker = server.client("sagemaker")
    sagemaker.create_processing_job(**_request(name, "import time; time.sleep(600)", count=2))
    last = wait_until_ended(sagemaker.describe_processing_job, seconds=60, ProcessingJobName=name)
    assert last["ProcessingJobStatus"] == "Failed"
    assert last["FailureReason"].startswith(reason)
    assert server.local("GET", "faults") == {"faults": []}
    sagemaker.create_processing_job(**_request(f"{name}-2", "pass", count=2))
    last = wait_until_ended(sagemaker.describe_processing_job, seconds=60, ProcessingJobName=f"{name}-2")
    assert last["ProcessingJobStatus"] == "Completed"
