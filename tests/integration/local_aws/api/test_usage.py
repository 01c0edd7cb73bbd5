"""What a job cost: instances, billed seconds, busy seconds, idle share."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from local_aws.settings import Settings
from local_aws.state.jobs import Job
from local_aws.usage import compute_billed_seconds_per_instance, compute_usage
from tests.integration.local_aws.api.requests import processing_request, wait_until_ended
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import REPOSITORY

pytestmark = pytest.mark.local_only


def _job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "kind": "transform",
        "region": "us-east-1",
        "name": "j",
        "name_key": "j",
        "arn": "arn",
        "status": "Completed",
        "request": {},
        "containers": [],
        "network_isolation": False,
        "instance_type": "ml.m5.xlarge",
        "instance_count": 4,
        "created_at": 100.0,
        "modified_at": 200.0,
        "started_at": 110.0,
        "ended_at": 120.5,
    }
    return Job(**{**values, **changes})


def test_billing_runs_from_start_to_end_on_every_instance() -> None:
    """Provisioning is free, and every instance is billed until the slowest ends."""
    hosts = [
        {"host": f"algo-{number}", "busy_seconds": busy}
        for number, busy in enumerate((10.5, 5.25, 0, 5.25), 1)
    ]
    usage = compute_usage(_job(instances=hosts), Settings.model_validate({}), now=500.0)
    assert usage["provisioning_seconds"] == 10.0
    assert usage["billed_seconds"] == 11.0
    assert usage["billed_instance_seconds"] == 44.0
    assert usage["busy_seconds"] == 21.0
    assert usage["idle_share"] == 0.5


@pytest.mark.parametrize(
    ("settings", "started", "ended", "expected"),
    [
        ({}, 110.0, 111.0000002, 1.0),
        ({}, None, 120.0, 0.0),
        ({}, 110.0, None, 90.0),
        ({"billing_minimum_seconds": 60}, 110.0, 120.0, 60.0),
        ({"billing_minimum_seconds": 60}, None, 120.0, 0.0),
        ({"billing_granularity_seconds": 60}, 110.0, 171.0, 120.0),
        ({"billing_granularity_seconds": 0.1}, 110.0, 110.25, 0.3),
    ],
)
def test_billed_seconds_follow_the_settings(
    settings: dict[str, Any], started: float | None, ended: float | None, expected: float
) -> None:
    """Rounded up; a job at work is billed until now; one that never started is not billed."""
    job = _job(started_at=started, ended_at=ended)
    assert compute_billed_seconds_per_instance(
        job, Settings.model_validate(settings), now=200.0
    ) == pytest.approx(expected)


def test_the_endpoint_and_the_command_tell_the_same(aws: Aws, sagemaker: Any, name: str) -> None:
    """By job name, for a job that ran on three instances."""
    assert aws.server is not None
    cluster = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 3, "VolumeSizeInGB": 1}
    sagemaker.create_processing_job(
        **processing_request(
            name,
            ProcessingResources={"ClusterConfig": cluster},
            Environment={"SECONDS": "0.2", "BUSY": "0.1"},
        )
    )
    last = wait_until_ended(sagemaker.describe_processing_job, ProcessingJobName=name)
    (usage,) = aws.server.local("GET", f"usage?name_contains={name}&kind=processing")["jobs"]
    elapsed = usage["instances"][0]["ended"] - usage["instances"][0]["started"]
    assert (last["ProcessingEndTime"] - last["ProcessingStartTime"]).total_seconds() == pytest.approx(
        elapsed, abs=0.002
    )
    billed = 3 * math.ceil(elapsed)
    assert (usage["instance_count"], usage["billed_seconds"], usage["billed_instance_seconds"]) == (
        3,
        billed / 3,
        billed,
    )
    assert usage["busy_seconds"] == 0.1
    assert usage["idle_share"] == pytest.approx(1 - 0.1 / (3 * elapsed), abs=0.01)
    assert aws.server.local("GET", f"usage?name_contains={name}&kind=transform") == {"jobs": []}
    command = [
        sys.executable,
        "-m",
        "local_aws",
        "usage",
        "--url",
        aws.server.url,
        "--name-contains",
        name,
    ]
    table = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    head, row, total = table.splitlines()
    assert head.split() == ["job", "kind", "status", "instances", "type", "billed", "s", "busy", "s", "idle"]
    assert row.split() == [
        name,
        "processing",
        "Completed",
        "3",
        "ml.m5.xlarge",
        str(billed),
        "0.1",
        f"{usage['idle_share']:.0%}",
    ]
    assert total.split() == ["1", "jobs", str(billed), "0.1"]
    printed = subprocess.run(
        [*command, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == [usage]


def test_the_command_says_when_no_server_answers() -> None:
    """One line and a status, no traceback."""
    command = [sys.executable, "-m", "local_aws", "usage", "--url", "http://127.0.0.1:1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("no embedded AWS at http://127.0.0.1:1: ")
    assert len(done.stderr.splitlines()) == 1
