"""Shards are equal, several per instance where the data allows, and neither absurdly small nor very large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.planning.clusters.sizing import (
    MAX_SHARD_BYTES,
    MIN_SHARD_BYTES,
    ShardSizes,
    cap_instance_count,
    compute_max_concurrent_transforms,
    compute_shard_sizes,
    count_default_workers,
    count_vcpus,
)

MB = 1_000_000


@pytest.mark.parametrize(
    ("total", "instances", "sizes"),
    [
        (40 * MB, 4, ShardSizes(count=40, bytes=1 * MB)),
        (1_000, 4, ShardSizes(count=1, bytes=1_000)),
        (0, 4, ShardSizes(count=0, bytes=MIN_SHARD_BYTES)),
        (600_000, 4, ShardSizes(count=2, bytes=300_000)),
    ],
)
def test_sizes_of_shards(total: int, instances: int, sizes: ShardSizes) -> None:
    assert compute_shard_sizes(total, instances) == sizes


@given(total=st.integers(1, 10**13), instances=st.integers(1, 100), asked_for=st.booleans())
def test_shards_hold_everything_and_stay_within_bounds(total: int, instances: int, asked_for: bool) -> None:
    sizes = compute_shard_sizes(total, instances, is_count_requested=asked_for)
    assert sizes.count >= 1
    assert total <= sizes.count * sizes.bytes < total + sizes.count
    assert sizes.bytes <= MAX_SHARD_BYTES
    if total >= instances * 10 * MIN_SHARD_BYTES:
        assert sizes.count >= 10 * instances
        assert sizes.count % instances == 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ml.t3.medium", 1), ("ml.m5.large", 2), ("ml.m5.xlarge", 4), ("ml.m5.2xlarge", 8), ("ml.c5.9xlarge", 36),
        ("something else", 1),
    ],
)  # fmt: skip
def test_vcpus_follow_from_the_name_of_a_type(name: str, number: int) -> None:
    assert count_vcpus(name) == number


@pytest.mark.parametrize("name", ["ml.g5.48xlarge", "ml.p3.2xlarge", "ml.inf2.xlarge", "ml.trn1.2xlarge"])
def test_nobody_asks_for_the_vcpus_of_a_type_with_accelerators(name: str) -> None:
    with pytest.raises(ValueError, match="has accelerators"):
        count_vcpus(name)
    assert count_default_workers(name) == 4


def test_requests_in_flight_stay_within_what_sagemaker_takes() -> None:
    assert compute_max_concurrent_transforms("ml.m5.xlarge", 6, 100) == 4
    assert compute_max_concurrent_transforms("ml.m5.12xlarge", 5, 100) == 20
    assert compute_max_concurrent_transforms("ml.g5.48xlarge", 5, 100) == 4
    assert compute_max_concurrent_transforms("ml.m5.xlarge", 100, 100) == 1


@given(planned=st.integers(1, 100), shards=st.integers(0, 1000))
def test_there_are_never_more_instances_than_shards(planned: int, shards: int) -> None:
    assert cap_instance_count(planned, shards) == max(1, min(planned, shards))
