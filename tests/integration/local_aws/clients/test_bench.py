"""`tools/benchmarks/embedded_aws.py` measures what it says it measures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.local_aws.servers import REPOSITORY

pytestmark = pytest.mark.local_only  # it starts a server of its own


def test_the_quick_measurement_fills_every_row() -> None:
    """Each figure once, above nothing, with its unit, and the goals that issue and README state."""
    command = [sys.executable, "-m", "tools.benchmarks.embedded_aws", "--quick", "--mb", "3", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["name"], row["unit"], row["goal"]) for row in rows] == [
        ("server memory, idle", "MB", None),
        ("DescribeTransformJob, idle, p50", "ms", 20),
        ("DescribeTransformJob, idle, p99", "ms", 20),
        ("DescribeTransformJob, four busy instances, p50", "ms", 20),
        ("DescribeTransformJob, four busy instances, p99", "ms", 20),
        ("processing job, empty container, create to completed", "s", None),
        ("transform job, one record, create to completed", "s", None),
        ("transform of one object of 3 MB", "MB/s", None),
        ("runner memory, peak", "MB", 300),
        ("server memory after the transform", "MB", None),
        ("server memory, peak", "MB", None),
    ]
    assert all(row["value"] > 0 for row in rows)
    memory = {row["name"]: row["value"] for row in rows if row["unit"] == "MB"}
    assert memory["runner memory, peak"] < 300
    assert memory["server memory, peak"] >= memory["server memory after the transform"]
