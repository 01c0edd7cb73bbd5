"""The fullest instance is that of the worst assignment that is possible, computed from the sizes of objects."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.planning.clusters.rate_model import Rate, build_assumed_rate
from batch_inference.planning.clusters.spread import compute_probability, compute_quantile
from batch_inference.planning.clusters.work_division import (
    MAX_WEIGHED_OBJECTS,
    BalancedLists,
    EqualShards,
    SizeProfile,
    WholeObjects,
)

MB = 1_000_000
BATCH = 100
#: 20 MB a second, and nothing for a request.
RATE: Rate = build_assumed_rate("preprocess", "ml.m5.xlarge")


def profile(sizes: list[int]) -> SizeProfile:
    made = SizeProfile()
    for start in range(0, len(sizes), BATCH):
        made.extend(sizes[start : start + BATCH])
    return made


def share(sizes: list[int], instances: int, *, hashed: bool = False) -> tuple[float, float]:
    """Megabytes of the fullest instance, as expected and in the worst assignment."""
    work = WholeObjects(profile=profile(sizes), can_be_hashed=hashed)
    found = work.share_work(instances, RATE)
    return found.expected * 20, found.worst * 20


def test_large_neighbours_land_on_one_instance() -> None:
    """In turn they would not; a hash may do worse."""
    sizes = [*[40 * MB] * 3, *[MB] * 9]
    assert share(sizes, 3)[1] == pytest.approx(121)
    assert share([*[40 * MB, MB, MB, MB] * 3], 3)[1] == pytest.approx(43)
    assert share(sizes, 3, hashed=True)[1] >= 121


def test_neighbours_count_in_turn_too() -> None:
    """Every third object is large: in turn one instance gets all of them, in blocks none does."""
    assert share([40 * MB, MB, MB] * 4, 3)[1] == pytest.approx(160)


def test_equal_objects_are_even_unless_they_are_hashed() -> None:
    assert share([MB] * 64, 4) == pytest.approx((16, 16))
    assert share([MB] * 65, 4)[1] == pytest.approx(17)
    expected, worst = share([MB] * 64, 4, hashed=True)
    assert 16 < expected < worst


@settings(max_examples=100)
@given(sizes=st.lists(st.integers(1, 100 * MB), min_size=1, max_size=300), instances=st.integers(1, 12))
def test_blocks_of_equal_counts_and_turns_are_exact_where_each_object_is_known(
    sizes: list[int], instances: int
) -> None:
    count, made = len(sizes), profile(sizes)
    blocks, turns = [0] * instances, [0] * instances
    for place, size in enumerate(sizes):
        blocks[place * instances // count] += size
        turns[place % instances] += size
    assert made.list_block_loads(instances)[0].bytes == pytest.approx(max(blocks))
    assert made.list_turn_loads(instances)[0].bytes == pytest.approx(max(turns), rel=1e-6)


def test_of_many_objects_the_largest_are_known_and_neighbours_in_sums() -> None:
    """Giants at the end of ten thousand crumbs, of which the last quarter is larger: within a hundredth."""
    sizes = [1000] * 7500 + [3000] * 2500 + [50 * MB] * 4
    assert len(sizes) > 4 * MAX_WEIGHED_OBJECTS
    assert share(sizes, 2)[1] == pytest.approx(200 + (2500 * 1000 + 2500 * 3000) / MB, rel=0.01)


def test_memory_does_not_grow_with_the_listing() -> None:
    made = SizeProfile()
    for _ in range(20_000):
        made.extend([1000] * 10)
    assert (made.count, made.bytes) == (200_000, 200 * MB)
    assert len(made._blocks) <= 4097
    assert made.list_block_loads(4)[0].bytes == pytest.approx(50 * MB, rel=0.001)


def test_pieces_are_uneven_where_objects_smaller_than_two_of_them_stay_whole() -> None:
    """Half of the bytes are in many objects of 10 MB; blocks of as many pieces of 40 MB hold more."""
    even = EqualShards(bytes=16_000 * MB, max_parallelism=400)
    mixed = EqualShards(
        bytes=16_000 * MB, max_parallelism=400, object_sizes=[10 * MB] * 800 + [2000 * MB] * 4
    )
    assert even.share_work(4, RATE).expected == even.share_work(4, RATE).mean
    assert mixed.share_work(4, RATE).worst > 1.5 * mixed.share_work(4, RATE).mean


def test_each_list_is_billed_for_itself() -> None:
    lists = BalancedLists(profile=profile([80 * MB, 10 * MB, 5 * MB, 5 * MB]), max_lists=4)
    assert lists.share_work(2, RATE) == pytest.approx((2.5, 4.0, 4.0))


@given(confidence=st.floats(0.5, 0.999))
def test_quantiles_and_probabilities_agree(confidence: float) -> None:
    assert compute_probability(compute_quantile(confidence)) == pytest.approx(confidence, abs=1e-6)


def test_quantiles_are_those_of_students_t_with_four_degrees_of_freedom() -> None:
    assert [round(compute_quantile(each), 3) for each in (0.5, 0.9, 0.95, 0.99)] == [0.0, 1.533, 2.132, 3.747]
