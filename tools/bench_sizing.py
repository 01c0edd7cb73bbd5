"""`make bench-sizing`: what the planner's clusters cost next to a naive run and to the best that is possible.

A simulator of SageMaker's billing that shares no code with the planner: objects go to instances contiguously, in turn,
or by hash; each instance starts up and then works through its objects; all are billed until the slowest ends. The
planner sees a listing, a deadline and its own default rates; the true rates differ from those by up to 30 %, which it
never sees.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from include.scoring.config import Pipeline
from include.scoring.layout import choose_layout
from include.scoring.params import RunParams
from include.scoring.plan import Plan, S3Object, make_plan

Sizes = NDArray[np.int64]
Loads = NDArray[np.float64]

# The world as the simulator knows it. The planner's own assumptions are the same where a recorded run on AWS gave them
# (start-up, provisioning), and are wrong by `factor` where they cannot be known (rates).
START, PROVISIONING, OTHER = 90.0, 240.0, 60.0
PREPROCESS_RATE, TRANSFORM_RATE = 10e6, 2e6
OVERHEAD = 0.05  # seconds for each object, however small
MOST = 16  # max_instances, and what a naive run asks for
FACTORS = (0.7, 0.85, 1.0, 1.15, 1.3)
ASSIGNMENTS = ("contiguous", "in turn", "hash")
MB, GB = 1_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """An input: unpacked object sizes, minutes to the deadline, and whether objects can be cut where they lie."""

    name: str
    sizes: Callable[[], Sizes]
    minutes: int
    cuttable: bool = True


def whole(sizes: NDArray[np.float64]) -> Sizes:
    """Sizes as whole bytes, none empty."""
    return np.maximum(1, sizes).astype(np.int64)


def lognormal(count: int, sigma: float, total: float) -> Sizes:
    """Sizes of so many objects, log-normal, `total` bytes in all."""
    drawn = np.random.default_rng(20).lognormal(0.0, sigma, count)
    return whole(drawn / drawn.sum() * total)


def zipf(count: int, exponent: float, total: float) -> Sizes:
    """Sizes by rank to the power of -exponent, shuffled, `total` bytes in all."""
    ranks = np.random.default_rng(20).permutation(count) + 1.0
    weights = ranks**-exponent
    return whole(weights / weights.sum() * total)


def day_of_hours(total: float) -> Sizes:
    """One object per hour of a day, busy at noon and quiet at night."""
    weights = 1.2 + np.sin((np.arange(24) - 6) / 24 * 2 * math.pi)
    return whole(weights / weights.sum() * total)


def layouts(most_objects: int) -> list[Layout]:
    """The twelve inputs; `most_objects` lowers the largest count, for quick runs."""
    tiny = most_objects
    return [
        Layout("one object of 30 GB", lambda: np.array([30 * GB]), 240),
        Layout("one gzip of 3 GB", lambda: np.array([3 * GB]), 120, cuttable=False),
        Layout(
            f"{tiny:,} objects of 2 kB", lambda: np.full(tiny, 2_000, dtype=np.int64), 150, cuttable=False
        ),
        Layout(
            "100,000 objects of 2 kB", lambda: np.full(100_000, 2_000, dtype=np.int64), 60, cuttable=False
        ),
        Layout("1,000 objects of 20 MB", lambda: np.full(1_000, 20 * MB, dtype=np.int64), 90),
        Layout("9 objects of 2 GB", lambda: np.full(9, 2 * GB, dtype=np.int64), 90),
        Layout("24 hours of a day, 20 GB", lambda: day_of_hours(20 * GB), 90, cuttable=False),
        Layout("100 objects, ±50 %", lambda: np.random.default_rng(20).integers(100 * MB, 300 * MB, 100), 90),
        Layout("log-normal sigma 1, 1,000", lambda: lognormal(1_000, 1.0, 20 * GB), 90, cuttable=False),
        Layout("log-normal sigma 2, 1,000", lambda: lognormal(1_000, 2.0, 20 * GB), 90, cuttable=False),
        Layout("Zipf a=1, 1,000", lambda: zipf(1_000, 1.0, 20 * GB), 120),
        Layout("Zipf a=1.5, 1,000", lambda: zipf(1_000, 1.5, 20 * GB), 150, cuttable=False),
    ]


def loads(sizes: Sizes, instances: int, assignment: str, rate: float, seed: int = 0) -> Loads:
    """Seconds of work that comes to each instance."""
    count = len(sizes)
    if assignment == "contiguous":
        at = np.arange(count) * instances // max(count, 1)
    elif assignment == "in turn":
        at = np.arange(count) % instances
    else:
        at = np.random.default_rng(seed).integers(0, instances, count)
    seconds = sizes / rate + OVERHEAD
    return np.bincount(at, weights=seconds, minlength=instances).astype(np.float64)


def billed(sizes: Sizes, instances: int, assignment: str, rate: float, seed: int = 0) -> tuple[float, float]:
    """Instance-seconds billed for one job, and how long it runs."""
    wall = START + float(loads(sizes, instances, assignment, rate, seed).max())
    return instances * wall, wall


def lower_bound(work: float, largest: float, seconds: float) -> float:
    """n times (start-up + max(work / n, largest indivisible)) for the best n within the deadline."""
    best = math.inf
    for instances in range(1, MOST + 1):
        wall = START + max(work / instances, largest)
        if wall <= seconds:
            best = min(best, instances * wall)
    return best


def shards_of(sizes: Sizes, hosts: int, shard_bytes: int) -> Sizes:
    """What a preprocessing job writes: each host cuts what it reads into equal shards of about `shard_bytes`."""
    at = np.arange(len(sizes)) * hosts // len(sizes)
    written: list[Sizes] = []
    for total in np.bincount(at, weights=sizes.astype(np.float64), minlength=hosts):
        if total:
            count = max(1, round(total / shard_bytes))
            written.append(np.full(count, total / count).astype(np.int64))
    return np.concatenate(written)


def pipeline() -> Pipeline:
    """The pipeline that is planned for."""
    return Pipeline.model_validate(
        {
            "name": "bench",
            "role": "arn:aws:iam::123456789012:role/bench",
            "work": "s3://bench/work",
            "input": {"uri": "s3://bench/in/", "columns": [{"name": "x", "type": "float"}]},
            "output": {"uri": "s3://bench/out/"},
            "model": {"name": "bench"},
            "preprocess": {"image": "bench:1", "max_instances": MOST},
            "transform": {"max_instances": MOST},
            "predictions": {"fields": {"score": "y"}},
        }
    )


def planned(layout: Layout, sizes: Sizes) -> Plan:
    """What the planner says."""

    def listing() -> Iterator[S3Object]:
        for number, size in enumerate(sizes.tolist()):
            yield S3Object(f"in/{number:08d}", size, "0123456789abcdef0123456789abcdef")

    now = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    return make_plan(
        pipeline(), RunParams(deadline=str(layout.minutes)), listing(), run_id="bench", nonce="bench", moment=now,
        now=now, input_uri="s3://bench/in/", output_uri="s3://bench/out/",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """The worst over all rates of one layout and assignment, in instance-seconds.

    `expected` is the bound, or for a hash what equal shards thrown at random to the n of the plan are expected to cost:
    the choice of n is judged by the other two, what hashing adds to it by balls in bins.
    """

    layout: str
    assignment: str
    instances: int
    plan: float
    naive: float
    bound: float
    expected: float
    missed: int

    @property
    def ratio(self) -> float:
        """Plan over the bound, or for a hash over the expectation."""
        return self.plan / self.expected


def balls_in_bins(work: float, shards: int, instances: int) -> tuple[float, float]:
    """Expected instance-seconds and duration of a job whose equal shards are thrown at random; work in seconds."""
    draws = np.random.default_rng(1).multinomial(shards, [1 / instances] * instances, size=400)
    wall = START + float(draws.max(axis=1).mean()) * (work / shards + OVERHEAD)
    return instances * wall, wall


def measure(layout: Layout) -> list[Row]:
    """With preprocessing: the transform that was planned, on the shards that preprocessing writes."""
    sizes = layout.sizes()
    plan = planned(layout, sizes)
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
        worst = max(found, key=lambda row: row.ratio)
        rows.append(replace(worst, missed=sum(row.missed for row in found)))
    return rows


def measure_direct(layout: Layout, instances: int = 8) -> tuple[str, str, float, float, float]:
    """Without preprocessing, on a given number of instances: way, jobs, instance-seconds of plan, naive run and bound.

    The naive run hands the objects to one job in turn.
    """
    sizes = layout.sizes()
    believed = (sizes / TRANSFORM_RATE).tolist()
    chosen = choose_layout(
        believed, instances=instances, start_seconds=START, cuttable=layout.cuttable, jobs_allowed=20
    )
    naive = billed(sizes, instances, "in turn", TRANSFORM_RATE)[0]
    work, largest = float(sizes.sum()) / TRANSFORM_RATE, float(sizes.max()) / TRANSFORM_RATE
    if not layout.cuttable:
        work += OVERHEAD * len(sizes)  # what cannot be put together is a request each, on any cluster
    if chosen.way == "cut":
        pieces = np.full(instances * 100, sizes.sum() / (instances * 100)).astype(np.int64)
        ours, bound = billed(pieces, instances, "in turn", TRANSFORM_RATE)[0], instances * START + work
    elif chosen.way == "manifests":
        # Each list is a job of its own, billed until its own end, whichever objects are in it.
        ours, bound = chosen.jobs * START + work, instances * START + work
    else:
        ours = billed(sizes, chosen.instances, "in turn", TRANSFORM_RATE)[0]
        bound = chosen.instances * (START + max(work / chosen.instances, largest))
    return chosen.way, str(chosen.jobs), ours, naive, bound


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| input | assignment | n | plan | naive | bound | plan ÷ bound | plan ÷ expected | naive ÷ bound | deadline |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        kept = "met" if not row.missed else f"missed {row.missed} times"
        lines.append(
            f"| {row.layout} | {row.assignment} | {row.instances} | {row.plan:,.0f} | {row.naive:,.0f} | "
            f"{row.bound:,.0f} | {row.plan / row.bound:.3f} | {row.ratio:.3f} | {row.naive / row.bound:.2f} | {kept} |"
        )
    return "\n".join(lines)


def drawing(rows: list[Row]) -> str:
    """Naive and planned runs as multiples of the bound, as an SVG; bars end at 6, with their number beside them."""
    shown = [row for row in rows if row.assignment == "in turn"]
    height, width, left, scale = 34, 760, 230, 75
    parts = []
    for number, row in enumerate(shown):
        top = 30 + number * height
        parts.append(f'<text x="{left - 10}" y="{top + 17}" text-anchor="end">{row.layout}</text>')
        for offset, value, kind in ((2, row.naive / row.expected, "naive"), (14, row.ratio, "plan")):
            bar = min(value, 6) * scale
            parts.append(
                f'<rect x="{left}" y="{top + offset}" width="{bar:.1f}" height="10" class="{kind}"/>'
            )
            parts.append(
                f'<text x="{left + bar + 5:.1f}" y="{top + offset + 9}" class="small">{value:.2f}</text>'
            )
    bottom = 30 + len(shown) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 10}" font-family="sans-serif" '
        'font-size="12">'
        "<style>text{fill:#57606a}.small{font-size:9px}.naive{fill:#b4541a}.plan{fill:#1a7f5a}</style>"
        f'<text x="{left}" y="16">instance-seconds as a multiple of the bound: naive above, planned below</text>'
        f'<line x1="{left + scale}" x2="{left + scale}" y1="24" y2="{bottom}" stroke="#57606a" stroke-dasharray="2 3"/>'
        f"{''.join(parts)}</svg>\n"
    )


def main() -> int:
    """Print the tables; the exit status says whether the goals were met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most-objects", type=int, default=10_000_000, help="objects of the largest listing")
    parser.add_argument("--svg", type=Path, help="also write the picture to this file")
    asked = parser.parse_args()
    rows: list[Row] = []
    for layout in layouts(asked.most_objects):
        began = time.perf_counter()
        rows += measure(layout)
        print(f"{layout.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    true = ", ".join(f"{factor:.0%}" for factor in FACTORS)
    print(f"With preprocessing; the worst over true rates of {true} of the assumed\n")
    print(table(rows))
    print("\nWithout preprocessing, on 8 instances\n")
    print("| input | way | jobs | plan | naive | bound | plan ÷ bound | naive ÷ bound |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for layout in layouts(min(asked.most_objects, 1_000_000)):
        way, jobs, ours, naive, bound = measure_direct(layout)
        print(
            f"| {layout.name} | {way} | {jobs} | {ours:,.0f} | {naive:,.0f} | {bound:,.0f} | {ours / bound:.3f} | "
            f"{naive / bound:.2f} |"
        )
    if asked.svg:
        asked.svg.write_text(drawing(rows), encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    worst = {name: max(row.ratio for row in rows if row.assignment == name) for name in ASSIGNMENTS}
    goals = {"contiguous": 1.10, "in turn": 1.10, "hash": 1.05}
    print(
        f"\nworst: {', '.join(f'{name} {ratio:.3f} (goal {goals[name]:.2f})' for name, ratio in worst.items())}"
    )
    print(f"deadlines missed: {sum(row.missed for row in rows)}; peak memory {peak:,.0f} MB")
    met = all(worst[name] <= goals[name] for name in ASSIGNMENTS) and not any(row.missed for row in rows)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
