"""`make bench-sizing`: what the planner's clusters cost next to a naive run and to the best that is possible.

Twelve inputs, each with and without preprocessing. The planner sees a listing, a deadline and its own default rates;
the true rates differ from those by up to 30 %, which it never sees. What its clusters then cost is told by a simulator
of SageMaker's billing that shares no code with it (`tools/billing_simulator.py`).
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from include.scoring.config import Pipeline
from include.scoring.params import RunParams
from include.scoring.plan import Plan, S3Object, make_plan
from tools.billing_simulator import (
    MOST,
    OTHER,
    OVERHEAD,
    PROVISIONING,
    SMALLEST_CUT,
    START,
    Layout,
    Sizes,
    balls_in_bins,
    billed,
    in_lists,
    layouts,
    lower_bound,
    pieces_of,
    shards_of,
)
from tools.sizing_pictures import drawing, summary, table

PREPROCESS_RATE, TRANSFORM_RATE = 10e6, 2e6
FACTORS = (0.7, 0.85, 1.0, 1.15, 1.3)
ASSIGNMENTS = ("contiguous", "in turn", "hash")
#: What a gzip object of numbers is taken to unpack to, here and in the listing that the planner sees.
PACKED = 4
#: Copies inside S3 and reads of small objects that a task gets done in a second, before the transform can start.
COPIES_PER_SECOND, READS_PER_SECOND = 60.0, 300.0
#: A task that puts objects together reads so many at most; more have to be read one by one by the transform.
MOST_MERGED = 200_000
GOALS = {"contiguous": 1.10, "in turn": 1.10, "hash": 1.05}


def pipeline(*, preprocess: bool = True, packed: bool = False) -> Pipeline:
    """The pipeline that is planned for."""
    return Pipeline.model_validate(
        {
            "name": "bench",
            "role": "arn:aws:iam::123456789012:role/bench",
            "work": "s3://bench/work",
            "input": {
                "uri": "s3://bench/in/",
                "columns": [{"name": "x", "type": "float"}],
                "compression": "gzip" if packed else "none",
            },
            "output": {"uri": "s3://bench/out/"},
            "model": {"name": "bench"},
            **({"preprocess": {"image": "bench:1", "max_instances": MOST}} if preprocess else {}),
            "transform": {"max_instances": MOST},
            "predictions": {"fields": {"score": "y"}},
        }
    )


def planned(of: Pipeline, minutes: int, sizes: Sizes) -> Plan:
    """What the planner says about objects of these sizes."""

    def listing() -> Iterator[S3Object]:
        for number, size in enumerate(sizes.tolist()):
            yield S3Object(f"in/{number:08d}", size, "0123456789abcdef0123456789abcdef")

    now = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    return make_plan(
        of, RunParams(deadline=str(minutes)), listing(), run_id="bench", nonce="bench", moment=now,
        now=now, input_uri="s3://bench/in/", output_uri="s3://bench/out/",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """The worst over all rates of one layout and assignment, in instance-seconds.

    `expected` is the bound, or for a hash what equal shards thrown at random to the n of the plan are expected to cost:
    the choice of n is judged by the other two, what hashing adds to it by balls in bins. `way` says how the input was
    handed over without preprocessing.
    """

    layout: str
    assignment: str
    instances: int
    plan: float
    naive: float
    bound: float
    expected: float
    missed: int
    way: str = ""

    @property
    def ratio(self) -> float:
        """Plan over the bound, or for a hash over the expectation."""
        return self.plan / self.expected


def worst(found: Sequence[Row]) -> Row:
    """The row of the rate at which the plan is furthest from what it is held against, with all missed deadlines."""
    return replace(max(found, key=lambda row: row.ratio), missed=sum(row.missed for row in found))


def measure(layout: Layout) -> list[Row]:
    """With preprocessing: the transform that was planned, on the shards that preprocessing writes."""
    sizes = layout.sizes()
    plan = planned(pipeline(), layout.minutes, sizes)
    assert plan.preprocess is not None
    hosts, instances = plan.preprocess.instance_count, plan.transform.instance_count
    shards = shards_of(sizes, hosts, plan.preprocess.shard_bytes)
    instances = min(instances, len(shards))
    rows = []
    for assignment in ASSIGNMENTS:
        found: list[Row] = []
        for factor in FACTORS:
            rate = TRANSFORM_RATE * factor
            read = sizes / (PREPROCESS_RATE * factor)
            preparing = START + float(
                np.bincount(np.arange(len(sizes)) * hosts // len(sizes), weights=read).max()
            )
            left = layout.minutes * 60 - 2 * PROVISIONING - OTHER - preparing
            seeds = range(20) if assignment == "hash" else range(1)
            ours = [billed(shards, instances, assignment, rate, seed) for seed in seeds]
            naive = np.mean([billed(sizes, MOST, assignment, rate, seed)[0] for seed in seeds[:3]])
            work = float(sizes.sum()) / rate
            bound = lower_bound(work, 0.0, left)
            expected = balls_in_bins(work, len(shards), instances)[0] if assignment == "hash" else bound
            possible = math.isfinite(bound) and (
                assignment != "hash" or balls_in_bins(work, len(shards), min(MOST, len(shards)))[1] <= left
            )
            missed = sum(wall > left for _, wall in ours) if possible else 0
            mean = float(np.mean([each for each, _ in ours]))
            found.append(Row(layout.name, assignment, instances, mean, float(naive), bound, expected, missed))
        rows.append(worst(found))
    return rows


def measure_direct(layout: Layout) -> list[Row]:
    """Without preprocessing: the jobs that were planned, on the objects or pieces that they are given."""
    sizes = layout.sizes()
    minutes = layout.direct_minutes or layout.minutes
    listed = np.maximum(1, sizes // PACKED) if layout.packed else sizes
    plan = planned(pipeline(preprocess=False, packed=layout.packed), minutes, listed)
    assert plan.layout is not None
    handed, instances = plan.layout, plan.transform.instance_count
    given, before = sizes, 0.0
    if handed.way == "pieces":
        given = pieces_of(sizes, handed.piece_bytes, handed.merge_below)
        before = len(given) / COPIES_PER_SECOND + int((sizes < handed.merge_below).sum()) / READS_PER_SECOND
    instances = min(instances, len(given))
    left = minutes * 60 - PROVISIONING - OTHER - before
    way = f"{handed.way}, {'1 job' if handed.jobs == 1 else f'{handed.jobs} jobs'}"
    rows = []
    for assignment in ASSIGNMENTS:
        found: list[Row] = []
        for factor in FACTORS:
            rate = TRANSFORM_RATE * factor
            seeds = range(20) if assignment == "hash" else range(1)
            if handed.jobs > 1:
                ours = [in_lists(given, handed.jobs, rate)]
            else:
                ours = [billed(given, instances, assignment, rate, seed) for seed in seeds]
            naive = np.mean([billed(sizes, MOST, assignment, rate, seed)[0] for seed in seeds[:3]])
            mean = float(np.mean([each for each, _ in ours]))
            bound = lower_bound(*unavoidable(layout, sizes, rate), left)
            expected = bound
            if assignment == "hash" and handed.jobs == 1:
                expected = balls_in_bins(float(given.sum()) / rate, len(given), instances)[0]
            missed = sum(wall > left for _, wall in ours) if math.isfinite(bound) else 0
            found.append(
                Row(layout.name, assignment, instances, mean, float(naive), bound, expected, missed, way)
            )
        rows.append(worst(found))
    return rows


def unavoidable(layout: Layout, sizes: Sizes, rate: float) -> tuple[float, float]:
    """Seconds of work that no layout saves, and of the largest part that none divides.

    What is packed cannot be divided; objects that are packed, too large to be put together, or too many for that, cost
    a round trip each.
    """
    if layout.packed:
        return float(sizes.sum()) / rate + OVERHEAD * len(sizes), float(sizes.max()) / rate
    trips = OVERHEAD * len(sizes) if len(sizes) > MOST_MERGED else 0.0
    whole = sizes[sizes <= SMALLEST_CUT]
    return float(sizes.sum()) / rate + trips, float(whole.max()) / rate if len(whole) else 0.0


def main() -> int:
    """Print the tables; the exit status says whether the goals were met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most-objects", type=int, default=10_000_000, help="objects of the largest listing")
    parser.add_argument("--svg", type=Path, help="also write the picture to this file")
    asked = parser.parse_args()
    rows: list[Row] = []
    direct: list[Row] = []
    for layout in layouts(asked.most_objects):
        began = time.perf_counter()
        rows += measure(layout)
        direct += measure_direct(layout)
        print(f"{layout.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    true = ", ".join(f"{factor:.0%}" for factor in FACTORS)
    print(f"With preprocessing; the worst over true rates of {true} of the assumed\n")
    print(table(rows))
    print("\nWithout preprocessing, likewise\n")
    print(table(direct))
    print("\nIn short\n")
    print(summary(rows, direct))
    if asked.svg:
        asked.svg.parent.mkdir(parents=True, exist_ok=True)
        asked.svg.write_text(drawing(rows, direct), encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    met = True
    for name, some in (("with", rows), ("without", direct)):
        ratios = {each: max(row.ratio for row in some if row.assignment == each) for each in ASSIGNMENTS}
        told = ", ".join(f"{each} {ratio:.3f} (goal {GOALS[each]:.2f})" for each, ratio in ratios.items())
        missed = sum(row.missed for row in some)
        print(f"\nworst {name} preprocessing: {told}; deadlines missed: {missed}")
        met = met and not missed and all(ratios[each] <= GOALS[each] for each in ASSIGNMENTS)
    print(f"peak memory {peak:,.0f} MB")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
