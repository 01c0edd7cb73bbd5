"""Simulates SageMaker's billing, sharing no code with the planner.

AWS does not document how objects are assigned to instances, so each plausible way is simulated. Each instance starts up
and then processes its objects; the instances of a job are billed until the slowest of them ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapreplace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
Loads = NDArray[np.float64]

# The world as the simulator knows it. The planner's own assumptions are the same where a recorded run on AWS gave them
# (start-up, provisioning), and are wrong by a factor where they cannot be known (rates).
START_SECONDS, PROVISIONING_SECONDS, OTHER_TASKS_SECONDS = 90.0, 240.0, 60.0
SECONDS_PER_OBJECT = 0.05  # seconds for each object, however small
MB, GB = 1_000_000, 1_000_000_000
# S3 copies ranges of objects larger than this.
MIN_CUT_BYTES = 5 * 1024 * 1024
#: Copies inside S3, reads of small objects, and bytes of these that a task gets done in a second.
COPIES_PER_SECOND, READS_PER_SECOND, MERGED_BYTES_PER_SECOND = 60.0, 300.0, 100e6
#: How SageMaker may assign the objects of a job to its instances; each hash is another.
ASSIGNMENTS = ("contiguous", "by bytes", "in turn", "hash 1", "hash 2", "hash 3", "greedy")
#: Objects that a heap deals out one by one; what is beyond fills up evenly, off by less than one of them.
MAX_HEAP_OBJECTS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The true speed of one instance of a type in one stage, at the stage's concurrency.

    A request, of which a large object has several, costs `request_seconds` whatever its size.
    """

    bytes_per_second: float
    dollars_per_hour: float = 0.23
    request_seconds: float = 0.0
    object_seconds: float = SECONDS_PER_OBJECT
    payload_bytes: int = 6 * 1024 * 1024
    start_seconds: float = START_SECONDS
    provisioning_seconds: float = PROVISIONING_SECONDS

    def count_requests(self, sizes: Sizes) -> Sizes:
        """Requests of each object."""
        return np.maximum(1, -(-sizes // self.payload_bytes))

    def compute_seconds(self, sizes: Sizes) -> Loads:
        """Seconds of work of each object."""
        seconds: Loads = sizes / self.bytes_per_second + self.object_seconds
        if self.request_seconds:
            seconds += self.request_seconds * self.count_requests(sizes)
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How nights differ: standard deviations of logarithms, and the share of outliers.

    `night_sigma` is of the speed of all instances of a night, `instance_sigma` of each instance, `start_sigma` of
    start-up and provisioning. An outlier takes between 1.3 times as long and `outlier_factor` times.
    """

    night_sigma: float = 0.0
    instance_sigma: float = 0.0
    start_sigma: float = 0.0
    outlier_share: float = 0.0
    outlier_factor: float = 2.0

    def draw(self, rng: np.random.Generator) -> float:
        """The factor on the seconds of work of one job."""
        factor = float(rng.lognormal(0.0, self.night_sigma))
        if rng.random() < self.outlier_share:
            factor *= rng.uniform(1.3, self.outlier_factor)
        return factor


CALM = Noise()


class Job(NamedTuple):
    """What a stage's job, or jobs of one instance each, took. `busy_seconds` and `billed_seconds` are summed."""

    billed_seconds: float
    run_seconds: float
    busy_seconds: float
    start_seconds: float
    provisioning_seconds: float
    instances: int
    requests: int
    dollars: float


def assign_objects(sizes: Sizes, instance_count: int, assignment: str) -> NDArray[np.int64]:
    """The instance of each object, which are in the order of their keys."""
    count = len(sizes)
    positions = np.arange(count)
    if assignment == "contiguous":
        at = positions * instance_count // max(count, 1)
    elif assignment == "by bytes":
        middles = np.cumsum(sizes) - sizes / 2
        at = np.minimum((middles * instance_count / sizes.sum()).astype(np.int64), instance_count - 1)
    elif assignment == "in turn":
        at = positions % instance_count
    else:
        seed = int(assignment.removeprefix("hash "))
        at = np.random.default_rng(seed).integers(0, instance_count, count)
    return at


def compute_loads(seconds: Loads, sizes: Sizes, instance_count: int, assignment: str) -> Loads:
    """Seconds of work that come to each instance; greedy gives the next object to whoever is done first."""
    if assignment == "greedy":
        return _fill_greedily(seconds, instance_count)
    at = assign_objects(sizes, instance_count, assignment)
    return np.bincount(at, weights=seconds, minlength=instance_count).astype(np.float64)


def _fill_greedily(seconds: Loads, instance_count: int) -> Loads:
    dealt = seconds[-MAX_HEAP_OBJECTS:]
    loads = [float(seconds[: len(seconds) - len(dealt)].sum()) / instance_count] * instance_count
    for one in dealt.tolist():
        heapreplace(loads, loads[0] + one)
    return np.array(loads)


def run_job(
    sizes: Sizes,
    instance_count: int,
    assignment: str,
    machine: Machine,
    *,
    lists: int = 1,
    request_bytes: int = 0,
    noise: Noise = CALM,
    rng: np.random.Generator | None = None,
) -> Job:
    """Run one job of `instance_count` instances, or with `lists` above 1 as many jobs of one instance each.

    Each of those reads a list of objects, balanced by bytes, of which a request counts as so many more, and is billed
    until its own end.
    """
    rng = rng or np.random.default_rng(0)
    seconds = machine.compute_seconds(sizes)
    if lists > 1:
        loads = _balance_lists(sizes + request_bytes * machine.count_requests(sizes), seconds, lists)
        instance_count = lists
    else:
        loads = compute_loads(seconds, sizes, instance_count, assignment)
    loads = loads * noise.draw(rng) * rng.lognormal(0.0, noise.instance_sigma, instance_count)
    start = machine.start_seconds * float(rng.lognormal(0.0, noise.start_sigma))
    wall = start + float(loads.max())
    billed = float((start + loads).sum()) if lists > 1 else instance_count * wall
    return Job(
        billed_seconds=billed,
        run_seconds=wall,
        busy_seconds=float(loads.sum()),
        start_seconds=start,
        provisioning_seconds=machine.provisioning_seconds * float(rng.lognormal(0.0, noise.start_sigma)),
        instances=instance_count,
        requests=int(machine.count_requests(sizes).sum()),
        dollars=billed * machine.dollars_per_hour / 3600,
    )


def _balance_lists(weights: Sizes, seconds: Loads, lists: int) -> Loads:
    """Seconds of work in each list; the heaviest object each goes to the list that has least weight."""
    order = np.argsort(-weights, kind="stable")
    heap = [(0, 0.0, number) for number in range(lists)]
    for position in order[:MAX_HEAP_OBJECTS].tolist():
        weight, load, number = heap[0]
        heapreplace(heap, (weight + int(weights[position]), load + float(seconds[position]), number))
    loads = np.array([load for _, load, _ in heap])
    rest = order[MAX_HEAP_OBJECTS:]
    if len(rest):
        filled = np.array([weight for weight, _, _ in heap], dtype=np.float64)
        room = np.maximum(0.0, (filled.sum() + weights[rest].sum()) / lists - filled)
        loads += seconds[rest].sum() * (room / room.sum() if room.sum() else 1 / lists)
    return loads


def find_host_assignment(assignment: str) -> str:
    """How a processing job assigns objects: ShardedByS3Key gives hosts about the same number, so it is no hash."""
    return assignment if assignment in ("contiguous", "by bytes") else "in turn"


def cut_shards(sizes: Sizes, hosts: int, shard_bytes: int, assignment: str = "contiguous") -> Sizes:
    """What a preprocessing job writes: each host cuts what it reads into equal shards of about `shard_bytes`."""
    at = assign_objects(sizes, hosts, find_host_assignment(assignment))
    written: list[Sizes] = []
    for total in np.bincount(at, weights=sizes.astype(np.float64), minlength=hosts):
        if total:
            count = max(1, round(total / shard_bytes))
            written.append(np.full(count, total / count).astype(np.int64))
    return np.concatenate(written)


class Pieces(NamedTuple):
    """What the transform reads in place of the objects, in the order of keys, and how long a task takes to write it."""

    sizes: Sizes
    preparation_seconds: float


def cut_and_merge(sizes: Sizes, piece_bytes: int, merge_below_bytes: int, most_merged: int) -> Pieces:
    """Cut each large object into equal parts, and put the small ones together to full pieces, so many at most.

    Objects that are neither are copied. A piece of small objects is where the last of them is.
    """
    is_small = sizes < merge_below_bytes
    is_small &= np.cumsum(is_small) <= most_merged
    rest, small = sizes[~is_small], sizes[is_small]
    parts = np.where(rest > MIN_CUT_BYTES, np.maximum(1, rest // piece_bytes), 1)
    places, written = [np.repeat(np.flatnonzero(~is_small), parts)], [np.repeat(rest // parts, parts)]
    if len(small):
        piece = np.maximum(0, np.cumsum(small) - 1) // piece_bytes
        first = np.flatnonzero(np.diff(piece, prepend=-1))
        written.append(np.add.reduceat(small, first))
        places.append(np.flatnonzero(is_small)[np.append(first[1:], len(small)) - 1])
    order = np.argsort(np.concatenate(places), kind="stable")
    made = np.concatenate(written)[order]
    seconds = len(made) / COPIES_PER_SECOND + len(small) / READS_PER_SECOND
    return Pieces(made, seconds + float(small.sum()) / MERGED_BYTES_PER_SECOND)


class StageBound(NamedTuple):
    """The least that one stage can be billed: its work in seconds on each type, and the part that nobody can divide.

    `has_lists` says that jobs of one instance may share the work, each billed until its own end.
    """

    machines: Sequence[Machine]
    work_seconds: Sequence[float]
    largest_seconds: Sequence[float]
    has_lists: bool = False

    def enumerate(self, max_instances: int) -> list[tuple[float, float]]:
        """Seconds from creation to end, and dollars, for every type and count."""
        found = []
        for machine, work, largest in zip(
            self.machines, self.work_seconds, self.largest_seconds, strict=True
        ):
            for count in range(1, max_instances + 1):
                wall = machine.start_seconds + max(work / count, largest)
                billed = count * machine.start_seconds + work if self.has_lists else count * wall
                found.append((machine.provisioning_seconds + wall, billed * machine.dollars_per_hour / 3600))
        return found


class Bound(NamedTuple):
    """The least dollars that meet a deadline, inf where nothing does, and the soonest end of any cluster."""

    dollars: float
    soonest_seconds: float


def compute_joint_bound(
    stages: Sequence[StageBound], max_instances: int, deadline_seconds: float = math.inf
) -> Bound:
    """The least over types and counts of all stages together, one after the other."""
    best = soonest = math.inf
    for chosen in product(*(stage.enumerate(max_instances) for stage in stages)):
        seconds = OTHER_TASKS_SECONDS + sum(each[0] for each in chosen)
        soonest = min(soonest, seconds)
        if seconds <= deadline_seconds:
            best = min(best, sum(each[1] for each in chosen))
    return Bound(best, soonest)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The true machines of both stages, by instance type; what the planner never sees."""

    transform: Mapping[str, Machine]
    preprocess: Mapping[str, Machine] = field(default_factory=dict)
    noise: Noise = CALM

    def change(self, **factors: Any) -> World:
        """This world with the transform's figures multiplied: `bytes_per_second=0.5` halves its speed."""
        machines = {
            name: replace(machine, **{key: getattr(machine, key) * by for key, by in factors.items()})
            for name, machine in self.transform.items()
        }
        return replace(self, transform=machines)
