"""Without preprocessing, objects become pieces and lists that hold each byte, or object, exactly once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.planning.clusters.rate_model import build_assumed_rate
from batch_inference.planning.clusters.sizing import count_requests, estimate_hash_skew
from batch_inference.planning.clusters.work_division import BalancedLists, SizeProfile
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_split import (
    MIN_SPLIT_BYTES,
    balance_weights,
    split_objects,
)
from tests.unit.builders import objects

MB = 1_000_000


sizes = st.lists(st.one_of(st.integers(0, 2_000), st.integers(0, 10**7), st.integers(0, 10**11)), max_size=40)


@given(
    sizes=sizes,
    piece=st.one_of(st.integers(10**6, 10**8), st.integers(10**8, 10**12)),
    merge_below_bytes=st.integers(0, 10**6),
    splittable=st.booleans(),
)
def test_pieces_hold_every_byte_of_every_object_once(
    sizes: list[int], piece: int, merge_below_bytes: int, splittable: bool
) -> None:
    sizes = [min(size, 1000 * piece) for size in sizes]
    listing = objects(sizes)
    pieces = list(
        split_objects(
            listing, piece_bytes=piece, merge_below_bytes=merge_below_bytes, is_splittable=splittable
        )
    )
    spans = [span for each in pieces for span in each]
    for item in listing:
        own = [(span.start, span.end) for span in spans if span.key == item.key]
        covered = [0]
        for start, end in own:
            assert start == covered[-1] < end
            covered.append(end)
        assert covered[-1] == item.size
        assert splittable or len(own) <= 1
    assert len(spans) == len({(span.key, span.start) for span in spans})


@given(sizes=sizes, piece=st.integers(10**6, 10**9), merge_below_bytes=st.integers(0, 10**6))
def test_only_what_s3_copies_ranges_of_is_cut_and_only_small_objects_are_put_together(
    sizes: list[int], piece: int, merge_below_bytes: int
) -> None:
    sizes = [min(size, 1000 * piece) for size in sizes]
    for each in split_objects(
        objects(sizes), piece_bytes=piece, merge_below_bytes=merge_below_bytes, is_splittable=True
    ):
        if len(each) > 1:
            assert all(span.is_whole and span.bytes < merge_below_bytes for span in each)
            assert sum(span.bytes for span in each[:-1]) < piece
        elif not each[0].is_whole:
            assert each[0].size > MIN_SPLIT_BYTES
            assert piece <= each[0].bytes < 2 * piece


def test_pieces_of_one_object_are_equal() -> None:
    made = list(
        split_objects([S3Object("a", 100 * MB)], piece_bytes=10 * MB, merge_below_bytes=0, is_splittable=True)
    )
    assert [each[0].bytes for each in made] == [10 * MB] * 10
    (whole,) = split_objects(
        [S3Object("a.gz", 100 * MB)], piece_bytes=10 * MB, merge_below_bytes=0, is_splittable=False
    )
    assert whole[0].is_whole


@given(
    sizes=st.lists(st.integers(1, 10**9), min_size=1, max_size=300),
    lists=st.integers(1, 30),
    seconds_per_request=st.sampled_from([0.0, 0.05, 100.0]),
)
def test_the_fullest_lists_are_those_that_balancing_makes(
    sizes: list[int], lists: int, seconds_per_request: float
) -> None:
    rate = replace(build_assumed_rate("transform", "ml.m5.xlarge"), seconds_per_request=seconds_per_request)
    profile = SizeProfile()
    profile.extend(sizes)
    work = BalancedLists(profile=profile, max_lists=lists, max_payload_mb=6)
    seconds = [rate.compute_work_seconds(size, count_requests(1, size, 6)) for size in sizes]
    lists = work.max_parallelism
    assert lists <= len(sizes)
    shares = work.share_work(lists, rate)
    fullest = max(sum(seconds[at] for at in group) for group in balance_weights(seconds, lists))
    assert shares.worst == pytest.approx(fullest)
    assert shares.mean == pytest.approx(sum(seconds) / lists)


@given(weights=st.lists(st.floats(0, 1e6), max_size=200), bins=st.integers(1, 20))
def test_every_object_is_in_exactly_one_list_and_lists_are_nearly_equal(
    weights: list[float], bins: int
) -> None:
    groups = balance_weights(weights, bins)
    assert len(groups) == bins
    assert sorted(position for group in groups for position in group) == list(range(len(weights)))
    fullest = max(sum(weights[at] for at in group) for group in groups)
    best = max(sum(weights) / bins, max(weights, default=0))
    # Graham: LPT is within 4/3 of the optimum, which itself is at most twice this bound.
    assert fullest <= best * 2 + 1e-6
    assert balance_weights(weights, bins) == groups


def test_many_lognormal_objects_balance_to_within_a_thousandth() -> None:
    draw = random.Random(20)
    weights = [draw.lognormvariate(0, 1) for _ in range(1000)]
    fullest = max(sum(weights[at] for at in group) for group in balance_weights(weights, 8))
    assert fullest <= 1.001 * sum(weights) / 8


@pytest.mark.parametrize(("objects_", "instances"), [(80, 8), (800, 8), (2400, 8), (1000, 20), (40, 4)])
def test_the_expected_excess_of_a_hash_is_near_what_hashing_gives(objects_: int, instances: int) -> None:
    draw = random.Random(objects_)
    seen = []
    for _ in range(300):
        loads = [0] * instances
        for _ in range(objects_):
            loads[draw.randrange(instances)] += 1
        seen.append(max(loads) / (objects_ / instances))
    # It is meant for the slow end of a range, so it may be a little above, and not below.
    assert sum(seen) / len(seen) <= estimate_hash_skew(objects_, instances) <= 1.25 * sum(seen) / len(seen)
