"""`make bench-plan`: how long planning takes and how much memory it needs, for a million objects and for ten.

Each number of objects is planned in a process of its own, as the `plan` task does it: objects come one by one, as S3's
listing gives them, are counted, are written into the manifest on disk, and are kept nowhere. What is not in it is S3
itself, which gives a thousand keys per answer. The goal is for processor time, which on a quiet machine is the time it
takes: planning waits for nothing but the listing.
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

from include.orchestration.pipelines import FOLDER
from include.scoring.config import load_pipeline
from include.scoring.input_manifest import noted_in_manifest
from include.scoring.input_selection import InputSelection
from include.scoring.listing import S3Object
from include.scoring.params import RunParams
from include.scoring.plan import make_plan

#: Objects, and the goals for them: seconds and megabytes.
GOALS = {1_000_000: (5.0, 500.0), 10_000_000: (60.0, 1000.0)}
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
URI = "s3://batch-inference-sample/abalone/incoming/"


def listing(number: int) -> Iterator[S3Object]:
    """So many objects with keys and sizes as they are found in buckets."""
    folder = "abalone/incoming/date=2026-01-31"
    for each in range(number):
        yield S3Object(f"{folder}/part-{each:08d}-c000.csv", 2_000 + each % 9_973, ETAG)


def measure(number: int) -> dict[str, float]:
    """Plan a run of so many objects, in this process."""
    pipeline = load_pipeline(FOLDER / "abalone.yaml")
    began, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "input.manifest").open("w") as file:
        selection = InputSelection(URI, lambda _: None)
        made = make_plan(
            pipeline, RunParams(), noted_in_manifest(URI, selection.select(listing(number)), file),
            run_id="bench", nonce="0" * 16, moment=datetime(2026, 1, 31, tzinfo=UTC), input_uri=URI,
            output_uri="s3://batch-inference-sample/out/", selection=selection,
        )  # fmt: skip
        file.flush()
        size = Path(file.name).stat().st_size
    assert made.input.objects == number
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "manifest_mb": size / 1e6,
    }


def main() -> int:
    """Print one line for each number of objects; 1 when a goal was missed."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return 0
    numbers = [int(each) for each in sys.argv[1:]] or list(GOALS)
    missed = False
    print(f"{'objects':>12}{'seconds':>10}{'CPU s':>9}{'peak MB':>10}{'manifest MB':>13}   goal")
    for number in numbers:
        command = [sys.executable, "-m", "tools.bench_plan", "--here", str(number)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        goal = GOALS.get(number)
        kept = goal is None or (found["cpu_seconds"] <= goal[0] and found["peak_mb"] <= goal[1])
        missed |= not kept
        said = "" if goal is None else f"{goal[0]:.0f} s, {goal[1]:,.0f} MB: {'kept' if kept else 'MISSED'}"
        print(
            f"{number:>12,}{found['seconds']:>10.1f}{found['cpu_seconds']:>9.1f}{found['peak_mb']:>10.0f}"
            f"{found['manifest_mb']:>13.0f}   {said}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
