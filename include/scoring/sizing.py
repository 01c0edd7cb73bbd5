"""The arithmetic of clusters: how many shards, how large, and how many instances, as pure functions of
numbers.

SageMaker hands whole objects to instances and bills every instance until the slowest ends, so shards are
equal and several times as many as instances.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Ten equal shards per instance keep the rounding loss of an uneven count below 10 %.
SHARDS_PER_INSTANCE = 10
MOST_SHARDS_PER_INSTANCE = 300
SECONDS_PER_SHARD = 5
# A shard is at least one request of its own, so tiny ones only cost round trips.
SMALLEST_SHARD = 256 * 1024
# Where a person asked for more instances than that gives shards, shards may get this small.
SMALLEST_SHARD_ASKED_FOR = 4 * 1024
# The loss of a failed object is the whole object, so none should hold more than some minutes of work.
LARGEST_SHARD = 64 * 1024 * 1024
# Text of numbers shrinks to about a third by gzip or zstd; four is on the safe side for disks and shard counts.
PACKED_GROWTH = 4

# Disk of an instance of a processing job, in GB, at most.
LARGEST_VOLUME_GB = 16_384

_SIZE_NAME = re.compile(r"\.(?:(\d*)x)?(large|medium|metal)$")


@dataclass(frozen=True, slots=True)
class ShardSizes:
    """How records are cut. `count` is what `total` gives; rejected records may lower it."""

    count: int
    bytes: int


def shard_sizes(
    total: int, instances: int, *, asked_for: bool = False, per_instance: int = SHARDS_PER_INSTANCE
) -> ShardSizes:
    """Equal shards for `total` bytes on `instances` instances.

    `per_instance` for each where the data allows, none above 64 MiB, and none absurdly small: 256 KiB, or 4 KiB where a
    person asked for this number of instances.
    """
    if total <= 0:
        return ShardSizes(count=0, bytes=SMALLEST_SHARD)
    count = min(instances * per_instance, most_shards(total))
    if asked_for:
        count = max(count, _small_shards_for(total, instances))
    if count > instances:
        # A multiple of the instances gives each the same number under contiguous and round-robin assignment.
        count -= count % instances
    if total > count * LARGEST_SHARD:
        count = _up_to_multiple(math.ceil(total / LARGEST_SHARD), instances)
    return ShardSizes(count=count, bytes=math.ceil(total / count))


def most_shards(total: int, *, asked_for: bool = False) -> int:
    """How many shards `total` bytes give at most; so many instances can have work."""
    return max(1, total // (SMALLEST_SHARD_ASKED_FOR if asked_for else SMALLEST_SHARD)) if total > 0 else 0


def most_shards_for(total: int, asked: int | None) -> int:
    """The same where a person may have asked for so many instances."""
    return max(most_shards(total), 0 if asked is None else _small_shards_for(total, asked))


def _small_shards_for(total: int, instances: int) -> int:
    """Small shards, only as far as the instances asked for need them."""
    return min(instances * SHARDS_PER_INSTANCE, most_shards(total, asked_for=True))


def shards_per_instance(working_seconds: float) -> int:
    """How many shards an instance that works so long should get: between 10 and 300, of some 5 s each.

    Many shards even out an assignment that is not ours: hashed to eight instances, ten each leave the fullest at 1.4
    times the mean, three hundred at 1.1. Each shard costs a round trip, so none should be much shorter than that.
    """
    wanted = round(working_seconds / SECONDS_PER_SHARD)
    return min(max(wanted, SHARDS_PER_INSTANCE), MOST_SHARDS_PER_INSTANCE)


def volume_for(host_bytes: int) -> int:
    """GB of disk that a preprocessing instance needs: its input, and records, features and rejects beside it."""
    return -(-3 * host_bytes // 1_000_000_000) + 1


def hashed_excess(objects: int, instances: int) -> float:
    """How much fuller than the mean the fullest instance is expected to be, were equal objects hashed to instances.

    1.0 is an even load. The Gaussian estimate of the maximum of a multinomial, good where each gets several objects.
    """
    if instances < 2 or not objects:
        return 1.0
    each = objects / instances
    return min(1.0 + math.sqrt(2.0 * math.log(instances) / each), float(instances))


def _up_to_multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def vcpus(instance_type: str) -> int:
    """vCPUs of an instance type, by its size name: large 2, xlarge 4, 2xlarge 8 and so on.

    That holds for the general, compute, memory and most GPU families; it is only a default for concurrency.
    """
    match = _SIZE_NAME.search(instance_type)
    if match is None:
        return 1
    times, name = match.groups()
    if times is not None:
        return 4 * int(times or 1)
    return {"medium": 1, "large": 2, "metal": 96}[name]


def concurrency(instance_type: str, payload_mb: int, limit: int) -> int:
    """Requests in flight per instance: one per vCPU, within `limit` MB of payload in all; at least 1."""
    return max(1, min(vcpus(instance_type), limit // payload_mb))


def right_size(planned: int, shards: int) -> int:
    """Instances for the shards that there really are: never more than shards, and at least 1."""
    return max(1, min(planned, shards))
