"""SageMaker's billing as a simulator that shares no code with the planner, and inputs of twelve layouts to bill.

Objects go to instances contiguously, in turn, or by hash, or to jobs by lists; each instance starts up and then works
through its objects; the instances of a job are billed until the slowest of them ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
Loads = NDArray[np.float64]

# The world as the simulator knows it. The planner's own assumptions are the same where a recorded run on AWS gave them
# (start-up, provisioning), and are wrong by a factor where they cannot be known (rates).
START, PROVISIONING, OTHER = 90.0, 240.0, 60.0
OVERHEAD = 0.05  # seconds for each object, however small
MOST = 16  # max_instances, and what a naive run asks for
MB, GB = 1_000_000, 1_000_000_000
# S3 copies ranges of objects larger than this.
SMALLEST_CUT = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """An input: unpacked object sizes, minutes to the deadline, and whether objects are packed by gzip.

    `direct_minutes` is the deadline without preprocessing, which may need more time: a round trip for each object.
    """

    name: str
    sizes: Callable[[], Sizes]
    minutes: int
    packed: bool = False
    direct_minutes: int | None = None


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
        Layout("one gzip of 3 GB", lambda: np.array([3 * GB]), 120, packed=True),
        Layout(
            f"{tiny:,} objects of 2 kB", lambda: np.full(tiny, 2_000, dtype=np.int64), 150, direct_minutes=780
        ),
        Layout("100,000 objects of 2 kB", lambda: np.full(100_000, 2_000, dtype=np.int64), 60),
        Layout("1,000 objects of 20 MB", lambda: np.full(1_000, 20 * MB, dtype=np.int64), 90),
        Layout("9 objects of 2 GB", lambda: np.full(9, 2 * GB, dtype=np.int64), 90),
        Layout("24 hours of a day, 20 GB", lambda: day_of_hours(20 * GB), 90, packed=True),
        Layout("100 objects, ±50 %", lambda: np.random.default_rng(20).integers(100 * MB, 300 * MB, 100), 90),
        Layout("log-normal sigma 1, 1,000", lambda: lognormal(1_000, 1.0, 20 * GB), 90, packed=True),
        Layout("log-normal sigma 2, 1,000", lambda: lognormal(1_000, 2.0, 20 * GB), 90, packed=True),
        Layout("Zipf a=1, 1,000", lambda: zipf(1_000, 1.0, 20 * GB), 120),
        Layout("Zipf a=1.5, 1,000", lambda: zipf(1_000, 1.5, 20 * GB), 150, packed=True),
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


def balls_in_bins(work: float, shards: int, instances: int) -> tuple[float, float]:
    """Expected instance-seconds and duration of a job whose equal shards are thrown at random; work in seconds."""
    draws = np.random.default_rng(1).multinomial(shards, [1 / instances] * instances, size=400)
    wall = START + float(draws.max(axis=1).mean()) * (work / shards + OVERHEAD)
    return instances * wall, wall


def pieces_of(sizes: Sizes, piece_bytes: int, merge_below: int) -> Sizes:
    """What cutting and putting together makes of the objects: equal parts of each large one, and full pieces of small.

    Objects that are neither stay as they are.
    """
    small = sizes[sizes < merge_below]
    rest = sizes[sizes >= merge_below]
    parts = np.where(rest > SMALLEST_CUT, np.maximum(1, rest // piece_bytes), 1)
    made = np.repeat(rest // parts, parts)
    merged = max(1, round(int(small.sum()) / piece_bytes)) if len(small) else 0
    return np.concatenate([made, np.full(merged, int(small.sum()) // max(1, merged), dtype=np.int64)])


#: Objects that a heap deals out; what is lighter fills up what these leave, off by less than one of them.
DEALT = 4_000


def in_lists(sizes: Sizes, jobs: int, rate: float) -> tuple[float, float]:
    """Instance-seconds and duration of so many one-instance jobs, the heaviest object each to the lightest list."""
    seconds = np.sort(sizes / rate + OVERHEAD)[::-1]
    loads = [0.0] * jobs
    for one in seconds[:DEALT]:
        heapreplace(loads, loads[0] + float(one))
    rest = float(seconds[DEALT:].sum())
    fullest = max(max(loads), (sum(loads) + rest) / jobs)
    return jobs * START + float(seconds.sum()), START + fullest
