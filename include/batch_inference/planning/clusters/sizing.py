"""Computes numbers and sizes of shards, disks and requests, as pure functions of numbers.

SageMaker assigns whole objects to instances and bills every instance until the slowest ends. So shards are of equal
size, and several times as many as instances.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from batch_inference.config.sections.stages import DEFAULT_MAX_PAYLOAD_MB

# Ten equal shards per instance keep the rounding loss of an uneven count below 10 %.
SHARDS_PER_INSTANCE = 10
MAX_SHARDS_PER_INSTANCE = 600
MAX_SHARDS_OF_ONE_INSTANCE = 100
SECONDS_PER_SHARD_OF_ONE_INSTANCE = 10
SECONDS_PER_SHARD = 4.5
# A shard is at least one request, so smaller ones only cost round trips.
MIN_SHARD_BYTES = 256 * 1024
# Where the trigger form asks for more instances than there are shards of that size, shards may be this small.
MIN_REQUESTED_SHARD_BYTES = 4 * 1024
# A failed object is lost as a whole, so none should hold more than some minutes of work.
MAX_SHARD_BYTES = 64 * 1024 * 1024
# Text of numbers shrinks to about a third by gzip or zstd; four is on the safe side for disks and shard counts.
ASSUMED_COMPRESSION_RATIO = 4

# Disk of an instance of a processing job, in GB, at most.
MAX_VOLUME_SIZE_GB = 16_384

# A request costs less than this share of an instance's work, where shards and merged objects can be as large.
MAX_REQUEST_SHARE = 0.05
MAX_REQUEST_SHARE_OF_FEW = 0.25
BYTES_PER_PAYLOAD_MB = 2**20
# Shards end at the ends of records, so that some are a little larger than others.
FILLED_SHARE = 0.95

# On accelerators vCPUs say nothing of how fast a model is.
DEFAULT_ACCELERATED_WORKERS = 4
_ACCELERATED_TYPE = re.compile(r"ml\.(?:g|p|inf|trn)\d")
_SIZE_NAME = re.compile(r"\.(?:(\d*)x)?(large|medium|metal)$")


@dataclass(frozen=True, slots=True)
class ShardSizes:
    """Number and size of shards. Rejected records may lower `count`."""

    count: int
    bytes: int


def compute_shard_sizes(
    total_bytes: int,
    instance_count: int,
    *,
    is_count_requested: bool = False,
    per_instance: int = SHARDS_PER_INSTANCE,
    payload_bytes: int | None = None,
) -> ShardSizes:
    """Equal shards for `total_bytes` on `instance_count` instances.

    `per_instance` for each where the data allows, none above 64 MiB and none below 256 KiB, or below 4 KiB where the
    trigger form asks for this number of instances. With `payload_bytes` larger shards fill whole payloads, as the rest
    of one would be a request too.
    """
    if total_bytes <= 0:
        return ShardSizes(count=0, bytes=MIN_SHARD_BYTES)
    count = min(instance_count * per_instance, compute_max_shards(total_bytes))
    if is_count_requested:
        count = max(count, _compute_small_shards(total_bytes, instance_count))
    if count > instance_count:
        # A multiple of the instances gives each the same number under contiguous and round-robin assignment.
        count -= count % instance_count
    if total_bytes > count * MAX_SHARD_BYTES:
        count = -(-math.ceil(total_bytes / MAX_SHARD_BYTES) // instance_count) * instance_count
    payloads = total_bytes // (count * payload_bytes) if payload_bytes else 0
    if payload_bytes and payloads:
        count = -(-math.ceil(total_bytes / (payloads * payload_bytes)) // instance_count) * instance_count
    return ShardSizes(count=count, bytes=math.ceil(total_bytes / count))


def compute_max_shards(total_bytes: int, *, is_count_requested: bool = False) -> int:
    """The most shards that `total_bytes` give, and so the most instances that have work."""
    min_bytes = MIN_REQUESTED_SHARD_BYTES if is_count_requested else MIN_SHARD_BYTES
    return max(1, total_bytes // min_bytes) if total_bytes > 0 else 0


def compute_max_shards_for_request(total_bytes: int, requested_count: int | None) -> int:
    """The same where the trigger form may ask for `requested_count` instances."""
    small_shards = 0 if requested_count is None else _compute_small_shards(total_bytes, requested_count)
    return max(compute_max_shards(total_bytes), small_shards)


def _compute_small_shards(total_bytes: int, instance_count: int) -> int:
    """How many small shards the requested instances need."""
    return min(instance_count * SHARDS_PER_INSTANCE, compute_max_shards(total_bytes, is_count_requested=True))


def choose_shards_per_instance(
    working_seconds: float, instance_count: int, seconds_per_request: float = 0.0
) -> int:
    """Shards for each instance, which works for `working_seconds`: between 10 and 600, of about 4.5 s each.

    SageMaker decides which instance reads which shard, and many shards even that out: hashed to eight instances, ten
    each leave the fullest at 1.6 times the mean, six hundred at 1.08. One instance needs no more than a hundred. Each
    shard costs a request, so none should take less than twenty requests' time, of ten shards four requests'.
    """
    seconds, most = SECONDS_PER_SHARD, MAX_SHARDS_PER_INSTANCE
    if instance_count == 1:
        seconds, most = SECONDS_PER_SHARD_OF_ONE_INSTANCE, MAX_SHARDS_OF_ONE_INSTANCE
    wanted = min(max(round(working_seconds / seconds), SHARDS_PER_INSTANCE), most)
    if seconds_per_request <= 0:
        return wanted
    requests = working_seconds / seconds_per_request
    few = min(SHARDS_PER_INSTANCE, int(requests * MAX_REQUEST_SHARE_OF_FEW))
    return max(1, few, min(wanted, int(requests * MAX_REQUEST_SHARE)))


def choose_payload_bytes(
    max_payload_mb: int, seconds_per_byte: float, seconds_per_request: float
) -> int | None:
    """The bytes that shards are filled up to; None where a request costs little beside a payload of bytes."""
    payload_bytes = round(max_payload_mb * BYTES_PER_PAYLOAD_MB * FILLED_SHARE)
    return (
        payload_bytes if seconds_per_request > MAX_REQUEST_SHARE * payload_bytes * seconds_per_byte else None
    )


def count_requests(objects: int, total_bytes: float, max_payload_mb: int | None) -> float:
    """Requests for so many objects of equal size: one for each, or as many as its bytes fill."""
    return max(
        float(objects), total_bytes / ((max_payload_mb or DEFAULT_MAX_PAYLOAD_MB) * BYTES_PER_PAYLOAD_MB)
    )


def compute_preprocess_volume_size_gb(host_bytes: int) -> int:
    """GB of disk that a preprocessing instance needs for its input and the records, features and rejects it writes."""
    return -(-3 * host_bytes // 1_000_000_000) + 1


def estimate_hash_skew(object_count: int, instance_count: int) -> float:
    """Expected share of the fullest instance, as a multiple of the mean, if equal objects are hashed to instances.

    1.0 is an even load. The Gaussian estimate of the maximum of a multinomial, good where each gets several objects.
    """
    if instance_count < 2 or not object_count:
        return 1.0
    each = object_count / instance_count
    return min(1.0 + math.sqrt(2.0 * math.log(instance_count) / each), float(instance_count))


def is_accelerated(instance_type: str) -> bool:
    """Whether the type's work is done by a GPU, or by Inferentia or Trainium: its vCPUs say nothing of its speed."""
    return _ACCELERATED_TYPE.match(instance_type) is not None


def count_default_workers(instance_type: str) -> int:
    """The requests that an instance is assumed to work on at once: one per vCPU, four on accelerators.

    It is a default for concurrency and speed, until they are measured.
    """
    if is_accelerated(instance_type):
        return DEFAULT_ACCELERATED_WORKERS
    return count_vcpus(instance_type)


def count_vcpus(instance_type: str) -> int:
    """vCPUs of an instance type, by its size name: large 2, xlarge 4, 2xlarge 8 and so on.

    Raises ValueError for types with accelerators, whose vCPUs say nothing of how fast a model is.
    """
    if _ACCELERATED_TYPE.match(instance_type):
        raise ValueError(f"{instance_type} has accelerators, so that its vCPUs say nothing of its speed")
    match = _SIZE_NAME.search(instance_type)
    if match is None:
        return 1
    times, name = match.groups()
    if times is not None:
        return 4 * int(times or 1)
    return {"medium": 1, "large": 2, "metal": 96}[name]


def compute_max_concurrent_transforms(instance_type: str, max_payload_mb: int, limit_mb: int) -> int:
    """Requests in flight per instance: one per vCPU, within `limit_mb` of payload in total; at least 1."""
    return max(1, min(count_default_workers(instance_type), limit_mb // max_payload_mb))


def cap_instance_count(planned_count: int, shard_count: int) -> int:
    """The planned number of instances, but no more than there are shards, and at least 1."""
    return max(1, min(planned_count, shard_count))
