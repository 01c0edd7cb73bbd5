"""The planner is near the best that is possible on every layout, as a simulator that is not its own sees it."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from tools.benchmarks import billing_simulator, sizing
from tools.benchmarks.billing_simulator import (
    START_SECONDS,
    bill_job,
    bill_listed_jobs,
    build_layouts,
    compute_loads,
    compute_lower_bound,
    cut_and_merge,
    cut_shards,
)
from tools.benchmarks.sizing import GOALS, measure_with_preprocess, measure_without_preprocess
from tools.benchmarks.sizing_pictures import Row, render_summary, render_svg, render_table

LAYOUTS = build_layouts(20_000)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for layout in LAYOUTS for row in measure_with_preprocess(layout)]


@pytest.fixture(scope="module")
def direct() -> list[Row]:
    return [row for layout in LAYOUTS for row in measure_without_preprocess(layout)]


def test_there_are_twelve_layouts_from_one_object_to_ten_million() -> None:
    assert len(LAYOUTS) == 12
    counts = [len(layout.sizes()) for layout in LAYOUTS]
    assert (min(counts), max(counts)) == (1, 100_000)
    assert build_layouts(10_000_000)[2].name == "10,000,000 objects of 2 kB"


@pytest.mark.parametrize("preprocessing", [True, False])
@pytest.mark.parametrize("assignment", ["contiguous", "in turn", "hash"])
def test_every_plan_is_within_its_goal_whatever_the_true_rate(
    rows: list[Row], direct: list[Row], assignment: str, preprocessing: bool
) -> None:
    ratios = {
        row.layout: row.ratio for row in (rows if preprocessing else direct) if row.assignment == assignment
    }
    assert len(ratios) == 12
    assert {name: ratio for name, ratio in ratios.items() if ratio > GOALS[assignment]} == {}


def test_every_deadline_that_can_be_met_is_met(rows: list[Row], direct: list[Row]) -> None:
    assert {
        (row.layout, row.assignment): row.missed_deadlines for row in [*rows, *direct] if row.missed_deadlines
    } == {}


def test_no_plan_costs_more_than_the_naive_run(rows: list[Row], direct: list[Row]) -> None:
    assert [
        (row.layout, row.assignment)
        for row in [*rows, *direct]
        if row.planned_instance_seconds > row.naive_instance_seconds
    ] == []


def test_every_way_to_hand_an_input_over_is_the_best_for_some_layout(direct: list[Row]) -> None:
    kinds = {(row.layout_mode.split(",")[0], row.layout_mode.endswith("jobs")) for row in direct}
    assert {("unsplit", False), ("unsplit", True), ("pieces", False)} <= kinds


def test_table_and_picture_show_every_layout(rows: list[Row], direct: list[Row]) -> None:
    assert render_table(direct).count("\n") == 1 + 36
    assert render_summary(rows, direct).count("\n") == 1 + 12
    picture = render_svg(rows, direct)
    assert all(f">{layout.name}<" in picture for layout in LAYOUTS)
    assert picture.count("<rect") == 1 + 3 + 3 * 12


def test_the_simulator_bills_each_list_until_its_own_end() -> None:
    sizes = np.array([4_000_000, 2_000_000, 2_000_000, 2_000_000])
    # 2.05, 1.05, 1.05 and 1.05 s of work: the heaviest alone, then one beside it and two together.
    assert bill_listed_jobs(sizes, 2, 2e6) == pytest.approx((2 * START_SECONDS + 5.20, START_SECONDS + 3.10))


def test_the_simulator_cuts_and_puts_together_what_it_is_told_to() -> None:
    made = cut_and_merge(np.array([20_000_000, 4_000_000, *[1_000] * 500]), 5_000_000, 100_000)
    assert sorted(made.tolist()) == [500_000, 4_000_000, *[5_000_000] * 4]


def test_the_simulator_bills_every_instance_until_the_slowest_ends() -> None:
    sizes = np.array([4_000_000, 2_000_000, 2_000_000])
    # 2 MB/s and 0.05 s for each object: 2.05, 1.05 and 1.05 s of work.
    assert compute_loads(sizes, 2, "in turn", 2e6).tolist() == pytest.approx([3.10, 1.05])
    assert compute_loads(sizes, 2, "contiguous", 2e6).tolist() == pytest.approx([3.10, 1.05])
    assert bill_job(sizes, 2, "in turn", 2e6) == pytest.approx((2 * 93.10, 93.10))
    assert compute_loads(sizes, 2, "hash", 2e6, seed=3).sum() == pytest.approx(4.15)


def test_the_bound_is_the_cheapest_number_of_instances_in_time() -> None:
    assert compute_lower_bound(1000.0, 0.0, math.inf) == 1090.0
    # One instance needs 1,090 s and two need 590 s each.
    assert compute_lower_bound(1000.0, 0.0, 600.0) == 1180.0
    assert compute_lower_bound(1000.0, 700.0, 600.0) == math.inf


def test_preprocessing_writes_as_many_bytes_as_it_reads() -> None:
    sizes = np.array([10_000_000, 1, 5_000_000, 3_000_000])
    for hosts in (1, 2, 4):
        written = cut_shards(sizes, hosts, 1_000_000)
        assert abs(int(written.sum()) - int(sizes.sum())) <= len(written)


def test_the_simulator_shares_no_code_with_the_planner() -> None:
    def imported(module: object) -> set[str]:
        tree = ast.parse(Path(str(module.__file__)).read_text())  # type: ignore[attr-defined]
        return {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batch_inference")
            for alias in node.names
        }

    assert imported(billing_simulator) == set()
    assert imported(sizing) == {
        "Pipeline", "Plan", "PlanningContext", "RunInfo", "RunParams", "S3Object", "make_plan",
        "plan_model_without_lookup",
    }  # fmt: skip
