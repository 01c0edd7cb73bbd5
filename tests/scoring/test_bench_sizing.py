"""The planner is near the best that is possible on every layout, as a simulator that is not its own sees it."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from tools import bench_sizing
from tools.bench_sizing import Row, billed, layouts, loads, lower_bound, measure, measure_direct, shards_of

LAYOUTS = layouts(20_000)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for layout in LAYOUTS for row in measure(layout)]


def test_there_are_twelve_layouts_from_one_object_to_ten_million() -> None:
    assert len(LAYOUTS) == 12
    counts = [len(layout.sizes()) for layout in LAYOUTS]
    assert (min(counts), max(counts)) == (1, 100_000)
    assert layouts(10_000_000)[2].name == "10,000,000 objects of 2 kB"


@pytest.mark.parametrize(("assignment", "goal"), [("contiguous", 1.10), ("in turn", 1.10), ("hash", 1.05)])
def test_every_plan_is_within_its_goal_whatever_the_true_rate(
    rows: list[Row], assignment: str, goal: float
) -> None:
    ratios = {row.layout: row.ratio for row in rows if row.assignment == assignment}
    assert len(ratios) == 12
    assert {name: ratio for name, ratio in ratios.items() if ratio > goal} == {}


def test_every_deadline_that_can_be_met_is_met(rows: list[Row]) -> None:
    assert {(row.layout, row.assignment): row.missed for row in rows if row.missed} == {}


def test_no_plan_costs_more_than_the_naive_run(rows: list[Row]) -> None:
    assert [(row.layout, row.assignment) for row in rows if row.plan > row.naive] == []


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_without_preprocessing_a_plan_is_within_a_tenth_of_the_bound(layout: bench_sizing.Layout) -> None:
    _, _, ours, naive, bound = measure_direct(layout)
    assert ours <= 1.10 * bound
    assert ours <= naive + 1e-6


def test_the_simulator_bills_every_instance_until_the_slowest_ends() -> None:
    sizes = np.array([4_000_000, 2_000_000, 2_000_000])
    # 2 MB/s and 0.05 s for each object: 2.05, 1.05 and 1.05 s of work.
    assert loads(sizes, 2, "in turn", 2e6).tolist() == pytest.approx([3.10, 1.05])
    assert loads(sizes, 2, "contiguous", 2e6).tolist() == pytest.approx([3.10, 1.05])
    assert billed(sizes, 2, "in turn", 2e6) == pytest.approx((2 * 93.10, 93.10))
    assert loads(sizes, 2, "hash", 2e6, seed=3).sum() == pytest.approx(4.15)


def test_the_bound_is_the_cheapest_number_of_instances_in_time() -> None:
    assert lower_bound(1000.0, 0.0, math.inf) == 1090.0
    # One instance needs 1,090 s and two need 590 s each.
    assert lower_bound(1000.0, 0.0, 600.0) == 1180.0
    assert lower_bound(1000.0, 700.0, 600.0) == math.inf


def test_preprocessing_writes_as_many_bytes_as_it_reads() -> None:
    sizes = np.array([10_000_000, 1, 5_000_000, 3_000_000])
    for hosts in (1, 2, 4):
        written = shards_of(sizes, hosts, 1_000_000)
        assert abs(int(written.sum()) - int(sizes.sum())) <= len(written)


def test_the_simulator_shares_no_arithmetic_with_the_planner() -> None:
    tree = ast.parse(Path(bench_sizing.__file__).read_text())
    ours = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include")
    ]
    imported = {alias.name for node in ours for alias in node.names}
    assert imported == {"Pipeline", "choose_layout", "RunParams", "Plan", "S3Object", "make_plan"}
