"""How the work of a stage divides among its instances: the assignments of objects that are possible.

AWS does not document which instance reads which object. Blocks of neighbours in key order, of equal numbers of objects
or of bytes, objects in turn, and a hash of keys are all possible; a promise holds for the worst of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappush, heapreplace
from itertools import accumulate
from operator import mul
from random import Random
from statistics import fmean
from typing import NamedTuple, Protocol

from batch_inference.planning.clusters.rate_model import Rate
from batch_inference.planning.clusters.sizing import (
    choose_shards_per_instance,
    count_requests,
    estimate_hash_skew,
)

#: Objects whose place is known one by one, the largest, and sums of neighbours that are kept of the others.
MAX_WEIGHED_OBJECTS = 500
MAX_BLOCKS = 4096
#: Hashes that are tried, where objects may be hashed to instances.
HASHES = 3


class Shares(NamedTuple):
    """Seconds of work of an instance: the mean, and of the fullest one as expected and in the worst assignment."""

    mean: float
    expected: float
    worst: float


class WorkDivision(Protocol):
    """The work of a stage, and how it divides."""

    @property
    def bytes(self) -> int:
        """All bytes."""

    @property
    def max_parallelism(self) -> int:
        """How many instances can have work at all."""

    def share_work(self, instance_count: int, rate: Rate) -> Shares:
        """The shares of so many instances."""

    def count_requests(self, instance_count: int, rate: Rate) -> float:
        """All requests."""


@dataclass(frozen=True, kw_only=True)
class EqualShards:
    """Shards or pieces of equal size, as many as the number of instances asks for.

    `object_sizes`, in ascending order, are of objects that stay whole where they are smaller than two pieces.
    `hash_weight` moves the expected time from an even load (0) to that of a hash (1).
    """

    bytes: int
    max_parallelism: int
    object_sizes: Sequence[int] = ()
    max_payload_mb: int | None = None
    hash_weight: float = 0.0

    def share_work(self, instance_count: int, rate: Rate) -> Shares:
        """The shares of so many instances; uneven by a hash, or where neighbours are larger than others."""
        mean = (
            rate.compute_work_seconds(self.bytes, self.count_requests(instance_count, rate)) / instance_count
        )
        if instance_count == 1:
            return Shares(mean, mean, mean)
        whole, pieces, piece_bytes = self._count_shards(instance_count, rate)
        hashed = mean * estimate_hash_skew(whole + pieces, instance_count)
        fullest = (whole + pieces) / instance_count
        whole_bytes = self.bytes - pieces * piece_bytes
        *_, (largest_count, largest_bytes) = sorted(
            ((pieces, piece_bytes), (whole, whole_bytes / max(1, whole))), key=lambda each: each[1]
        )
        largest_share = min(fullest, largest_count) * largest_bytes
        rest = max(0.0, fullest - largest_count) * min(piece_bytes, whole_bytes / max(1, whole))
        neighbours = mean * (largest_share + rest) * instance_count / self.bytes if whole else mean
        expected = mean + self.hash_weight * (hashed - mean) + (neighbours - mean) / 2
        return Shares(mean, expected, max(hashed, neighbours))

    def count_requests(self, instance_count: int, rate: Rate) -> float:
        """All requests."""
        whole, pieces, _ = self._count_shards(instance_count, rate)
        return count_requests(whole + pieces, self.bytes, self.max_payload_mb)

    def _count_shards(self, instance_count: int, rate: Rate) -> tuple[int, int, float]:
        """Objects that stay whole, pieces, and bytes of a piece."""
        working_seconds = self.bytes * rate.seconds_per_byte / instance_count
        wanted = instance_count * choose_shards_per_instance(
            working_seconds, instance_count, rate.seconds_per_request
        )
        piece_bytes = self.bytes / max(1, min(wanted, self.max_parallelism))
        whole = bisect_left(self.object_sizes, 2 * piece_bytes)
        rest = self.bytes - self._sums[whole]
        pieces = round(rest / piece_bytes)
        return whole, pieces, rest / pieces if pieces else 0.0

    @cached_property
    def _sums(self) -> list[int]:
        return [0, *accumulate(self.object_sizes)]


@dataclass(frozen=True, kw_only=True)
class EvenLists:
    """Pieces of equal size in one list for each instance; `requests` of all together."""

    bytes: int
    requests: float
    max_parallelism: int

    def share_work(self, instance_count: int, rate: Rate) -> Shares:
        """The shares of so many instances, which are the same."""
        mean = rate.compute_work_seconds(self.bytes, self.requests) / instance_count
        return Shares(mean, mean, mean)

    def count_requests(self, instance_count: int, rate: Rate) -> float:  # noqa: ARG002 - as of other divisions
        """All requests."""
        return self.requests


class Load(NamedTuple):
    """What an instance gets."""

    bytes: float
    objects: float


@dataclass(kw_only=True)
class SizeProfile:
    """Sizes of objects in key order, in flat memory: the largest with their places, and sums of neighbours."""

    count: int = 0
    bytes: int = 0
    squared_bytes: float = 0.0
    _largest: list[tuple[int, int]] = field(default_factory=list)
    _blocks: list[int] = field(default_factory=list)
    _block_objects: int = 0

    def extend(self, sizes: Sequence[int]) -> None:
        """Add the next objects; each call with as many, but for the last."""
        if not sizes:
            return
        total, largest = sum(sizes), self._largest
        if not self._block_objects:
            self._block_objects = len(sizes)
        if len(largest) < MAX_WEIGHED_OBJECTS or max(sizes) > largest[0][0]:
            for place, size in enumerate(sizes, self.count):
                if len(largest) < MAX_WEIGHED_OBJECTS:
                    heappush(largest, (size, place))
                elif size > largest[0][0]:
                    heapreplace(largest, (size, place))
        block = self.count // self._block_objects
        if block == len(self._blocks):
            self._blocks.append(total)
        else:
            self._blocks[block] += total
        self.count += len(sizes)
        self.bytes += total
        self.squared_bytes += float(sum(map(mul, sizes, sizes)))
        if len(self._blocks) > MAX_BLOCKS and self.count % (2 * self._block_objects) == 0:
            self._blocks = [sum(pair) for pair in zip(self._blocks[::2], self._blocks[1::2], strict=True)]
            self._block_objects *= 2

    def list_largest(self) -> list[int]:
        """Sizes of the objects whose place is known, the largest first."""
        return sorted((size for size, _ in self._largest), reverse=True)

    def count_requests(self, max_payload_mb: int | None) -> float:
        """Requests that the objects take: at least one each."""
        one_by_one = [count_requests(1, size, max_payload_mb) for size, _ in self._largest]
        rest_bytes = self.bytes - sum(size for size, _ in self._largest)
        return sum(one_by_one) + count_requests(self.count - len(self._largest), rest_bytes, max_payload_mb)

    def list_block_loads(self, instance_count: int) -> list[Load]:
        """The fullest instances if each gets neighbours: as many objects as others, or as many bytes."""
        return [*self._divide_by_count(instance_count), *self._divide_by_bytes(instance_count)]

    def list_turn_loads(self, instance_count: int) -> list[Load]:
        """The fullest instance if objects are assigned in turn."""
        loads = [0] * instance_count
        for size, place in self._largest:
            loads[place % instance_count] += size
        deviation = math.sqrt(max(0.0, self._rest_variance) / instance_count)
        return [self._add_rest(max(loads), deviation, instance_count, 0.0)]

    def list_hash_loads(self, instance_count: int) -> list[Load]:
        """The fullest instance by each of some hashes."""
        found = []
        for draws in self._draws:
            loads = [0] * instance_count
            for (size, _), draw in zip(self._largest, draws, strict=True):
                loads[int(draw * instance_count)] += size
            deviation = math.sqrt(self._rest_squares / instance_count)
            found.append(
                self._add_rest(max(loads), deviation, instance_count, math.sqrt(self.count / instance_count))
            )
        return found

    def _add_rest(
        self, largest_bytes: int, deviation: float, instance_count: int, objects_deviation: float
    ) -> Load:
        extreme = math.sqrt(2 * math.log(instance_count))
        return Load(
            min(float(self.bytes), largest_bytes + self._rest_bytes / instance_count + extreme * deviation),
            min(float(self.count), self.count / instance_count + extreme * objects_deviation),
        )

    @cached_property
    def _draws(self) -> list[list[float]]:
        seeds = (Random(seed) for seed in range(HASHES))  # noqa: S311 - keeps no secret
        return [[draws.random() for _ in self._largest] for draws in seeds]

    @cached_property
    def _rest_bytes(self) -> int:
        return self.bytes - sum(size for size, _ in self._largest)

    @cached_property
    def _rest_squares(self) -> float:
        """Sum of the squares of the sizes of all but the largest objects."""
        return max(0.0, self.squared_bytes - float(sum(size * size for size, _ in self._largest)))

    @cached_property
    def _rest_variance(self) -> float:
        """The same around their mean."""
        count = self.count - len(self._largest)
        return self._rest_squares - self._rest_bytes**2 / count if count else 0.0

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """The largest objects in key order: place and size."""
        return sorted((place, size) for size, place in self._largest)

    @cached_property
    def _rest_blocks(self) -> list[float]:
        """Sums of blocks without the largest objects, from the first block to each."""
        blocks = list(self._blocks)
        for size, place in self._largest:
            blocks[place // self._block_objects] -= size
        sums = [0.0]
        for block in blocks:
            sums.append(sums[-1] + block)
        return sums

    def _sum_rest_before(self, place: float) -> float:
        """Bytes of the objects before a place, without the largest."""
        at, inside = divmod(place, self._block_objects)
        block, sums = int(at), self._rest_blocks
        if block >= len(sums) - 1:
            return sums[-1]
        objects = min(self._block_objects, self.count - block * self._block_objects)
        return sums[block] + (sums[block + 1] - sums[block]) * min(1.0, inside / objects)

    def _divide_by_count(self, instance_count: int) -> Iterator[Load]:
        loads = [0.0] * instance_count
        for place, size in self._places:
            loads[place * instance_count // self.count] += size
        bounds = [
            self._sum_rest_before(self.count * each / instance_count) for each in range(instance_count + 1)
        ]
        for each in range(instance_count):
            loads[each] += bounds[each + 1] - bounds[each]
        yield Load(max(loads), self.count / instance_count)

    def _divide_by_bytes(self, instance_count: int) -> Iterator[Load]:
        """An object goes to the instance in whose bytes its middle lies."""
        loads = [[0.0, 0.0] for _ in range(instance_count)]
        each_bytes = self.bytes / instance_count
        done, before = 0.0, 0.0
        ends = [place for place, _ in self._places] + [self.count]
        sizes = [size for _, size in self._places] + [0]
        previous = 0
        for place, size in zip(ends, sizes, strict=True):
            rest = self._sum_rest_before(place)
            _spread_over(loads, each_bytes, done, rest - before, place - previous)
            done += rest - before
            before, previous = rest, place + 1
            if size:
                at = min(instance_count - 1, int((done + size / 2) / each_bytes))
                loads[at][0] += size
                loads[at][1] += 1
                done += size
        yield from _keep_fullest(Load(*each) for each in loads)


def _spread_over(
    loads: list[list[float]], each_bytes: float, start: float, size: float, objects: int
) -> None:
    """Add small objects, which lie at `start` of all bytes, to the instances whose bytes they are."""
    if objects <= 0:
        return
    if size <= 0:
        loads[min(len(loads) - 1, int(start / each_bytes))][1] += objects
        return
    first, last = (min(len(loads) - 1, int(at / each_bytes)) for at in (start, start + size))
    for each in range(first, last + 1):
        low = max(start, each * each_bytes)
        high = start + size if each == len(loads) - 1 else min(start + size, (each + 1) * each_bytes)
        loads[each][0] += max(0.0, high - low)
        loads[each][1] += objects * max(0.0, high - low) / size


def _keep_fullest(loads: Iterable[Load]) -> Iterator[Load]:
    """Those that no other exceeds in both bytes and objects."""
    objects = -1.0
    for load in sorted(loads, reverse=True):
        if load.objects > objects:
            yield load
            objects = load.objects


@dataclass(frozen=True, kw_only=True)
class _InputObjects:
    """The objects of the input, none of them divided."""

    profile: SizeProfile
    max_payload_mb: int | None = None

    @property
    def bytes(self) -> int:
        """All bytes."""
        return self.profile.bytes

    @cached_property
    def _requests(self) -> float:
        return self.profile.count_requests(self.max_payload_mb)

    def count_requests(self, instance_count: int, rate: Rate) -> float:  # noqa: ARG002 - as of other divisions
        """All requests."""
        return self._requests


@dataclass(frozen=True, kw_only=True)
class BalancedLists(_InputObjects):
    """The objects of the input in one list for each instance, balanced by the seconds that they take."""

    max_lists: int
    _fullest: dict[tuple[int, float, float], float] = field(default_factory=dict)

    @property
    def max_parallelism(self) -> int:
        """How many instances can have work at all."""
        return min(self.max_lists, self.profile.count)

    def share_work(self, instance_count: int, rate: Rate) -> Shares:
        """The shares of so many instances: the largest objects decide how even they are, all others fill them up."""
        mean = rate.compute_work_seconds(self.bytes, self._requests) / instance_count
        key = instance_count, rate.seconds_per_byte, rate.seconds_per_request
        if key not in self._fullest:
            loads = [0.0] * instance_count
            for size in self.profile.list_largest():
                requests = count_requests(1, size, self.max_payload_mb)
                heapreplace(loads, loads[0] + rate.compute_work_seconds(size, requests))
            self._fullest[key] = max(loads)
        fullest = max(mean, self._fullest[key])
        return Shares(mean, fullest, fullest)


@dataclass(frozen=True, kw_only=True)
class WholeObjects(_InputObjects):
    """The objects of the input as they are; `can_be_hashed` says that a hash of their keys may assign them."""

    can_be_hashed: bool
    _loads: dict[int, tuple[list[Load], list[Load], list[Load]]] = field(default_factory=dict)

    @property
    def max_parallelism(self) -> int:
        """How many instances can have work at all."""
        return self.profile.count

    def share_work(self, instance_count: int, rate: Rate) -> Shares:
        """The shares of so many instances."""
        profile = self.profile
        mean = rate.compute_work_seconds(profile.bytes, self._requests) / instance_count
        if instance_count == 1:
            return Shares(mean, mean, mean)
        if instance_count not in self._loads:
            hashed = profile.list_hash_loads(instance_count) if self.can_be_hashed else []
            self._loads[instance_count] = (
                profile.list_block_loads(instance_count), profile.list_turn_loads(instance_count), hashed,
            )  # fmt: skip
        # Requests beyond one for each object are of large objects.
        more = (self._requests - profile.count) / profile.bytes

        def compute_seconds(load: Load) -> float:
            return rate.compute_work_seconds(load.bytes, load.objects + more * load.bytes)

        blocks, turns, hashed = self._loads[instance_count]
        fullest = [max(map(compute_seconds, blocks)), max(map(compute_seconds, turns))]
        if hashed:
            fullest.append(fmean(map(compute_seconds, hashed)))
        # No instance has less than the mean, whatever the estimates of the smaller objects say.
        fullest = [max(mean, each) for each in fullest]
        return Shares(mean, fmean(fullest), max(fullest))
