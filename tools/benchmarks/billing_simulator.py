"""Simulates SageMaker's billing, sharing no code with the planner, for inputs of twelve layouts.

Objects go to instances contiguously, in turn, or by hash, or to jobs by lists; each instance starts up and then
processes its objects; the instances of a job are billed until the slowest of them ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
Loads = NDArray[np.float64]
InstanceSeconds = float


class Bill(NamedTuple):
    """What a job costs, and how long it runs."""

    instance_seconds: InstanceSeconds
    run_seconds: float


# The world as the simulator knows it. The planner's own assumptions are the same where a recorded run on AWS gave them
# (start-up, provisioning), and are wrong by a factor where they cannot be known (rates).
START_SECONDS, PROVISIONING_SECONDS, OTHER_TASKS_SECONDS = 90.0, 240.0, 60.0
SECONDS_PER_OBJECT = 0.05  # seconds for each object, however small
MAX_INSTANCES = 16  # max_instances, and what a naive run asks for
MB, GB = 1_000_000, 1_000_000_000
TOTAL_BYTES = 20 * GB  # of the layouts whose sizes are drawn
# S3 copies ranges of objects larger than this.
MIN_CUT_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """An input: unpacked object sizes, minutes to the deadline, and whether objects are packed by gzip.

    `no_preprocess_minutes`: deadline without preprocessing, which may need more time: a round trip for each object.
    """

    name: str
    sizes: Callable[[], Sizes]
    deadline_minutes: int
    is_gzip: bool = False
    no_preprocess_minutes: int | None = None


def scale_to_total(weights: NDArray[np.floating[Any]]) -> Sizes:
    """Sizes in whole bytes in proportion to `weights`, TOTAL_BYTES in all; none is empty."""
    sizes: Sizes = np.maximum(1, weights / weights.sum() * TOTAL_BYTES).astype(np.int64)
    return sizes


def draw_lognormal_sizes(sigma: float) -> Sizes:
    """Log-normal sizes of 1,000 objects."""
    return scale_to_total(np.random.default_rng(20).lognormal(0.0, sigma, 1_000))


def draw_zipf_sizes(exponent: float) -> Sizes:
    """Sizes of 1,000 objects by rank to the power of -exponent, shuffled."""
    return scale_to_total((np.random.default_rng(20).permutation(1_000) + 1.0) ** -exponent)


def draw_hourly_sizes() -> Sizes:
    """One object per hour of a day, busy at noon and quiet at night."""
    return scale_to_total(1.2 + np.sin((np.arange(24) - 6) / 24 * 2 * math.pi))


def build_layouts(most_objects: int) -> list[Layout]:
    """The twelve inputs; `most_objects` lowers the largest count, for quick runs."""
    tiny = most_objects
    return [
        Layout("one object of 30 GB", lambda: np.array([30 * GB]), 240),
        Layout("one gzip of 3 GB", lambda: np.array([3 * GB]), 120, is_gzip=True),
        Layout(f"{tiny:,} objects of 2 kB", lambda: np.full(tiny, 2_000), 150, no_preprocess_minutes=780),
        Layout("100,000 objects of 2 kB", lambda: np.full(100_000, 2_000), 60),
        Layout("1,000 objects of 20 MB", lambda: np.full(1_000, 20 * MB), 90),
        Layout("9 objects of 2 GB", lambda: np.full(9, 2 * GB), 90),
        Layout("24 hours of a day, 20 GB", draw_hourly_sizes, 90, is_gzip=True),
        Layout("100 objects, ±50 %", lambda: np.random.default_rng(20).integers(100 * MB, 300 * MB, 100), 90),
        Layout("log-normal sigma 1, 1,000", lambda: draw_lognormal_sizes(1.0), 90, is_gzip=True),
        Layout("log-normal sigma 2, 1,000", lambda: draw_lognormal_sizes(2.0), 90, is_gzip=True),
        Layout("Zipf a=1, 1,000", lambda: draw_zipf_sizes(1.0), 120),
        Layout("Zipf a=1.5, 1,000", lambda: draw_zipf_sizes(1.5), 150, is_gzip=True),
    ]


def compute_loads(
    sizes: Sizes, instance_count: int, assignment: str, bytes_per_second: float, seed: int = 0
) -> Loads:
    """Seconds of work that comes to each instance."""
    count = len(sizes)
    if assignment == "contiguous":
        at = np.arange(count) * instance_count // max(count, 1)
    elif assignment == "in turn":
        at = np.arange(count) % instance_count
    else:
        at = np.random.default_rng(seed).integers(0, instance_count, count)
    seconds = sizes / bytes_per_second + SECONDS_PER_OBJECT
    return np.bincount(at, weights=seconds, minlength=instance_count).astype(np.float64)


def bill_job(
    sizes: Sizes, instance_count: int, assignment: str, bytes_per_second: float, seed: int = 0
) -> Bill:
    """The bill of one job."""
    wall = START_SECONDS + float(
        compute_loads(sizes, instance_count, assignment, bytes_per_second, seed).max()
    )
    return Bill(instance_count * wall, wall)


def compute_lower_bound(
    work_seconds: float, largest_seconds: float, deadline_seconds: float
) -> InstanceSeconds:
    """n times (start-up + max(work / n, largest indivisible)) for the best n within the deadline."""
    best = math.inf
    for instances in range(1, MAX_INSTANCES + 1):
        wall = START_SECONDS + max(work_seconds / instances, largest_seconds)
        if wall <= deadline_seconds:
            best = min(best, instances * wall)
    return best


def cut_shards(sizes: Sizes, hosts: int, shard_bytes: int) -> Sizes:
    """What a preprocessing job writes: each host cuts what it reads into equal shards of about `shard_bytes`."""
    at = np.arange(len(sizes)) * hosts // len(sizes)
    written: list[Sizes] = []
    for total in np.bincount(at, weights=sizes.astype(np.float64), minlength=hosts):
        if total:
            count = max(1, round(total / shard_bytes))
            written.append(np.full(count, total / count).astype(np.int64))
    return np.concatenate(written)


def expect_hashed_bill(work_seconds: float, shard_count: int, instance_count: int) -> Bill:
    """The expected bill of a job whose equal shards are thrown at random; work in seconds."""
    draws = np.random.default_rng(1).multinomial(shard_count, [1 / instance_count] * instance_count, size=400)
    wall = START_SECONDS + float(draws.max(axis=1).mean()) * (work_seconds / shard_count + SECONDS_PER_OBJECT)
    return Bill(instance_count * wall, wall)


def cut_and_merge(sizes: Sizes, piece_bytes: int, merge_below_bytes: int) -> Sizes:
    """What cutting and putting together makes of the objects: equal parts of each large one, and full pieces of small.

    Objects that are neither stay as they are.
    """
    small = sizes[sizes < merge_below_bytes]
    rest = sizes[sizes >= merge_below_bytes]
    parts = np.where(rest > MIN_CUT_BYTES, np.maximum(1, rest // piece_bytes), 1)
    made = np.repeat(rest // parts, parts)
    merged = max(1, round(int(small.sum()) / piece_bytes)) if len(small) else 0
    return np.concatenate([made, np.full(merged, int(small.sum()) // max(1, merged), dtype=np.int64)])


#: Objects that a heap deals out; what is lighter fills up what these leave, off by less than one of them.
MAX_HEAP_OBJECTS = 4_000


def bill_listed_jobs(sizes: Sizes, job_count: int, bytes_per_second: float) -> Bill:
    """The bill of so many one-instance jobs, the heaviest object each to the lightest list."""
    seconds = np.sort(sizes / bytes_per_second + SECONDS_PER_OBJECT)[::-1]
    loads = [0.0] * job_count
    for one in seconds[:MAX_HEAP_OBJECTS]:
        heapreplace(loads, loads[0] + float(one))
    rest = float(seconds[MAX_HEAP_OBJECTS:].sum())
    fullest = max(max(loads), (sum(loads) + rest) / job_count)
    return Bill(job_count * START_SECONDS + float(seconds.sum()), START_SECONDS + fullest)
