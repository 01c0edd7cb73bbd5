"""Without preprocessing, what can be cut is cut, and what cannot is listed so that no instance waits for another."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.scoring.layout import SMALLEST_PART, balanced, choose_layout, cut
from include.scoring.plan import S3Object
from include.scoring.sizing import hashed_excess
from tests.scoring.builders import objects

MB = 1_000_000


@given(
    sizes=st.lists(st.integers(0, 10**11), max_size=12),
    piece=st.integers(2 * 10**9, 10**12),
    splittable=st.booleans(),
)
def test_pieces_hold_every_byte_of_every_object_once(sizes: list[int], piece: int, splittable: bool) -> None:
    listing = objects(sizes)
    pieces = list(cut(listing, piece, splittable=splittable))
    for item in listing:
        own = [each for each in pieces if each.key == item.key]
        assert [(each.start, each.end) for each in own] == [
            (start, end)
            for start, end in zip([0, *(e.end for e in own)], [*(e.end for e in own), None], strict=True)
            if end is not None
        ]
        assert sum(each.bytes for each in own) == item.size
        assert splittable or len(own) <= 1


def test_pieces_are_equal_and_none_is_smaller_than_s3_copies() -> None:
    pieces = list(cut([S3Object("a", 100 * MB)], 10 * MB, splittable=True))
    assert [piece.bytes for piece in pieces] == [10 * MB] * 10
    small = list(cut([S3Object("a", 20 * MB)], 1000, splittable=True))
    assert all(piece.bytes >= SMALLEST_PART for piece in small)
    assert len(small) == 3
    assert [piece.bytes for piece in cut([S3Object("a.gz", 100 * MB)], 10 * MB, splittable=False)] == [
        100 * MB
    ]


@given(weights=st.lists(st.floats(0, 1e6), max_size=200), bins=st.integers(1, 20))
def test_every_object_is_in_exactly_one_list_and_lists_are_nearly_equal(
    weights: list[float], bins: int
) -> None:
    groups = balanced(weights, bins)
    assert len(groups) == bins
    assert sorted(position for group in groups for position in group) == list(range(len(weights)))
    fullest = max(sum(weights[at] for at in group) for group in groups)
    best = max(sum(weights) / bins, max(weights, default=0))
    # Graham: LPT is within 4/3 of the optimum, which itself is at most twice this bound.
    assert fullest <= best * 2 + 1e-6
    assert balanced(weights, bins) == groups


def test_many_lognormal_objects_balance_to_within_a_thousandth() -> None:
    draw = random.Random(20)
    weights = [draw.lognormvariate(0, 1) for _ in range(1000)]
    fullest = max(sum(weights[at] for at in group) for group in balanced(weights, 8))
    assert fullest <= 1.001 * sum(weights) / 8


def test_cuttable_objects_become_equal_shards() -> None:
    made = choose_layout([3600.0], instances=4, start_seconds=90, cuttable=True, jobs_allowed=20)
    assert (made.way, made.jobs, made.instances, made.billed_seconds) == ("cut", 1, 4, 4 * (90 + 900))


def test_uneven_objects_that_cannot_be_cut_go_to_jobs_of_one_instance() -> None:
    made = choose_layout(
        [1000.0] + [100.0] * 10, instances=4, start_seconds=90, cuttable=False, jobs_allowed=20
    )
    assert (made.way, made.jobs, made.instances) == ("manifests", 4, 4)
    # Each job is billed for its own list only, not until the large object is done.
    assert made.billed_seconds == pytest.approx(4 * 90 + 2000 + 11 * 0.05)
    assert "4 jobs of one instance" in made.sentence


def test_one_object_that_cannot_be_cut_gets_one_instance() -> None:
    made = choose_layout([1000.0], instances=8, start_seconds=90, cuttable=False, jobs_allowed=20)
    assert (made.way, made.jobs, made.instances) == ("as it lies", 1, 1)


def test_where_only_one_job_may_run_the_assignment_is_left_to_sagemaker() -> None:
    made = choose_layout([100.0] * 40, instances=4, start_seconds=90, cuttable=False, jobs_allowed=1)
    assert (made.way, made.jobs, made.instances) == ("as it lies", 1, 4)


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
    assert sum(seen) / len(seen) <= hashed_excess(objects_, instances) <= 1.25 * sum(seen) / len(seen)
