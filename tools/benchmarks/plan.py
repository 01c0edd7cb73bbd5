"""`make bench-plan`: how long planning takes and how much memory it needs, for a million objects and for ten.

Each object count is planned in a process of its own, as the `plan` task does it: objects come one by one from the
listing, are counted and written to the manifest on disk, and are not kept in memory. S3 itself, with a thousand keys a
page, is not included. The goal is CPU time, which equals wall time on an idle machine: planning waits only for the
listing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from batch_inference.config.pipeline import load_pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import PlanningContext
from batch_inference.planning.inputs.input_listing import S3Object, tee_to_manifest
from batch_inference.planning.inputs.input_selection import InputSelection
from batch_inference.planning.model_version import plan_model_without_lookup
from batch_inference.planning.planner import RunInfo, make_plan
from tools.checkout import PIPELINES_FOLDER

#: Objects, and the goals for them: seconds and megabytes.
GOALS = {1_000_000: (5.0, 500.0), 10_000_000: (60.0, 1000.0)}
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
URI = "s3://batch-inference-sample/abalone/incoming/"
OUTPUT_URI = "s3://batch-inference-sample/out/"


def list_objects(object_count: int) -> Iterator[S3Object]:
    """So many objects with keys and sizes as they are found in buckets."""
    folder = "abalone/incoming/date=2026-01-31"
    for each in range(object_count):
        yield S3Object(f"{folder}/part-{each:08d}-c000.csv", 2_000 + each % 9_973, ETAG)


class PlanningCost(TypedDict):
    """What planning took; memory and the size of the manifest in megabytes."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    manifest_mb: float


def measure_planning(object_count: int) -> PlanningCost:
    """Plan a run of so many objects, in this process."""
    pipeline = load_pipeline(PIPELINES_FOLDER / "abalone.yaml")
    began, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "input.manifest").open("w") as file:
        selection = InputSelection(URI, lambda _: None)
        now = datetime(2026, 1, 31, tzinfo=UTC)
        plan = make_plan(
            pipeline,
            RunParams(),
            tee_to_manifest(URI, selection.select(list_objects(object_count)), file),
            RunInfo(run_id="bench", nonce="0" * 16, data_time=now, input_uri=URI, output_uri=OUTPUT_URI),
            PlanningContext(model=plan_model_without_lookup(pipeline), now=now),
            selection,
        )
        file.flush()
        size = Path(file.name).stat().st_size
    assert plan.input.objects == object_count
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "manifest_mb": size / 1e6,
    }


def main() -> int:
    """Print one line for each object count; the exit status is 1 if a goal was missed."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(measure_planning(int(sys.argv[2]))))
        return 0
    numbers = [int(each) for each in sys.argv[1:]] or list(GOALS)
    missed = False
    print(f"{'objects':>12}{'seconds':>10}{'CPU s':>9}{'peak MB':>10}{'manifest MB':>13}   goal")
    for number in numbers:
        command = [sys.executable, "-m", "tools.benchmarks.plan", "--here", str(number)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        is_met, goal_text = True, ""
        if number in GOALS:
            seconds, megabytes = GOALS[number]
            is_met = found["cpu_seconds"] <= seconds and found["peak_mb"] <= megabytes
            goal_text = f"{seconds:.0f} s, {megabytes:,.0f} MB: {'met' if is_met else 'MISSED'}"
        missed |= not is_met
        print(
            f"{number:>12,}{found['seconds']:>10.1f}{found['cpu_seconds']:>9.1f}{found['peak_mb']:>10.0f}"
            f"{found['manifest_mb']:>13.0f}   {goal_text}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
