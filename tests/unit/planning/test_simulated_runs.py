"""Plans hold in a simulator of SageMaker's billing that shares no code with the planner.

Small versions of `make bench-sizing`; the figures are what is right, not what the planner does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from batch_inference.common.errors import PlanError
from tools.benchmarks.billing_simulator import ASSIGNMENTS, GB, MB, Machine, World
from tools.benchmarks.sizing import (
    FIRST_MEAN_GOAL,
    FIRST_WORST_GOAL,
    KNOWN_GOAL,
    measure_case,
)
from tools.benchmarks.sizing_cases import (
    MIB,
    Case,
    build_cases,
    build_geometric_sizes,
    build_giants_and_crumbs,
    build_world,
)
from tools.benchmarks.sizing_nights import (
    NOISE,
    Night,
    calibrate,
    measure_after_step,
    measure_calibration,
    run_nights,
)
from tools.benchmarks.sizing_pictures import Row
from tools.benchmarks.sizing_random import compare_with_naive, measure_first_runs
from tools.benchmarks.sizing_runs import compute_bound, measure_world, plan_case, promises_deadline, run_plan


@cache
def measure_cases(*, preprocess: bool) -> list[Row]:
    cases = [case for case in build_cases(20_000) if len(case.sizes()) <= 20_000]
    return [row for case in cases for row in measure_case(case, preprocess=preprocess, factors=(0.7, 1.3))]


@pytest.mark.parametrize("preprocess", [True, False])
def test_with_known_rates_every_input_costs_at_most_a_tenth_more_than_the_joint_bound(
    preprocess: bool,
) -> None:
    rows = measure_cases(preprocess=preprocess)
    assert len(rows) == 17 * len(ASSIGNMENTS)
    dear = {(row.layout, row.assignment): round(row.known, 3) for row in rows if row.known > KNOWN_GOAL}
    assert dear == {}


@pytest.mark.parametrize("preprocess", [True, False])
def test_what_is_promised_is_kept_for_every_assignment(preprocess: bool) -> None:
    rows = measure_cases(preprocess=preprocess)
    assert {(row.layout, row.assignment) for row in rows if row.missed_promises} == set()


def test_first_runs_cost_little_more_than_those_of_a_planner_that_knows_the_rates() -> None:
    found = measure_first_runs(50)
    ratios = [run.ratio for run in found.runs]
    assert len(ratios) > 45
    assert sum(ratios) / len(ratios) <= FIRST_MEAN_GOAL
    assert max(ratios) <= FIRST_WORST_GOAL
    assert [run.case for run in found.runs if run.is_promised and not run.is_in_time] == []


def test_no_plan_is_worse_than_a_naive_run() -> None:
    found = list(compare_with_naive(100))
    assert sum(bool(each.ratio) for each in found) > 90
    assert [each for each in found if each.worse] == []
    assert sum(each.is_only_naive_in_time for each in found) <= 2


@pytest.mark.parametrize("goals", [{"budget": 0.12}, {"deadline_minutes": 60}])
def test_round_trips_of_objects_count_once(goals: dict[str, Any]) -> None:
    """25,000 packed objects of 3 kB cost $0.088, and no night after the first is refused."""
    case = Case(name="tiny", sizes=lambda: np.full(25_000, 3_000), is_gzip=True, **goals)
    nights = list(run_nights(case, 3, preprocess=False))
    assert [night.refusal for night in nights] == [""] * 3
    for night in nights:
        assert night.dollars <= 1.1 * night.bound_dollars
        assert night.seconds == pytest.approx(night.expected_seconds, rel=0.05)


def test_as_many_tiny_objects_are_merged_as_a_task_can_do() -> None:
    """250,000 objects of 3 kB: 12,500 s of round trips beside 375 s of work."""
    case = Case(name="tiny", sizes=lambda: np.full(250_000, 3_000), budget=1.20)
    run = run_plan(plan_case(case, preprocess=False), case, "in turn")
    assert run.dollars <= 1.1 * compute_bound(case, preprocess=False).dollars


def test_what_a_request_costs_decides_what_is_merged() -> None:
    """2,000 objects of 300 kB at 2 s a request, of which nothing is known in the first night."""
    case = Case(name="slow", sizes=lambda: np.full(2_000, 300_000), world=build_world(request_seconds=2.0))
    nights = list(run_nights(case, 4, preprocess=False))
    assert [night.dollars / night.bound_dollars for night in nights] == pytest.approx([1.05] * 4, abs=0.05)
    assert nights[-1].seconds == pytest.approx(nights[-1].expected_seconds, rel=0.03)


def test_an_uneven_job_is_not_taken_to_start_up_longer() -> None:
    sizes = np.random.default_rng(3).lognormal(0.0, 1.5, 60) * 100 * MB
    case = Case(
        name="uneven", sizes=lambda: sizes.astype(np.int64), is_gzip=True, transform={"max_jobs": 1}, max_instances=4,
        prefer="speed",
    )  # fmt: skip
    *_, night = run_nights(case, 3, preprocess=False, assignment="in turn")
    assert night.seconds <= night.promised_seconds
    assert night.expected_seconds <= 1.13 * night.seconds


SLOW_WORLD = World(
    transform={
        "ml.m5.xlarge": Machine(bytes_per_second=0.1 * MB),
        "ml.c5.2xlarge": Machine(bytes_per_second=0.2 * MB, dollars_per_hour=0.408),
    },
)


def test_a_type_that_was_never_measured_is_expected_to_be_as_slow_as_others_are_with_this_model() -> None:
    """Nothing is promised on it while a measured type meets the deadline."""
    case = Case(name="slow", sizes=lambda: np.full(400, 10 * MB), deadline_minutes=360, world=SLOW_WORLD)
    known = [
        row for row in measure_world(case, preprocess=False, nights=7) if row.instance_type == "ml.m5.xlarge"
    ]
    plan = plan_case(case, preprocess=False, history=known)
    run = run_plan(plan, case, "in turn")
    assert plan.transform.instance_type == "ml.m5.xlarge"
    assert promises_deadline(plan)
    assert run.seconds <= 360 * 60
    # Without a deadline the other may be taken, but at what it can be expected to do.
    free = plan_case(replace(case, deadline_minutes=None), preprocess=False, history=known)
    assert free.estimate.transform.seconds * 2 >= run_plan(free, case, "in turn").transform.run_seconds


@pytest.mark.parametrize(
    ("minutes", "preprocess"),
    [
        *((minutes, True) for minutes in (13, 14, 15, 16, 17, 18, 20)),
        *((minutes, False) for minutes in (8, 9, 10, 13, 15, 20)),
    ],
)
def test_a_first_run_does_not_buy_seconds_at_any_price(minutes: int, preprocess: bool) -> None:
    """17 objects of 5 MiB: one instance in each stage costs $0.015 and is done in 13 minutes."""
    case = Case(name="few", sizes=lambda: np.full(17, 5 * MIB), deadline_minutes=minutes)
    run = run_plan(plan_case(case, preprocess=preprocess), case, "in turn")
    assert run.dollars <= 0.03
    assert run.seconds <= minutes * 60


@pytest.mark.parametrize("preprocess", [True, False])
@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("build_sizes", [build_geometric_sizes, build_giants_and_crumbs])
def test_large_neighbours_may_land_on_one_instance(build_sizes: Any, is_gzip: bool, preprocess: bool) -> None:
    """From a deadline that hardly any cluster meets to a generous one: what is promised is kept, at known rates."""
    case = Case(name="neighbours", sizes=build_sizes, is_gzip=is_gzip)
    history = measure_world(case, preprocess=preprocess)
    soonest = compute_bound(case, preprocess=preprocess).soonest_seconds / 60
    sizes = case.sizes()
    missed, promised = [], 0
    for factor in (1.1, 1.3, 1.6, 2.0, 3.0, 5.0):
        tight = replace(case, deadline_minutes=round(soonest * factor))
        try:
            plan = plan_case(tight, preprocess=preprocess, history=history, sizes=sizes)
        except PlanError:
            continue
        if not promises_deadline(plan):
            continue
        promised += 1
        late = [
            assignment
            for assignment in ASSIGNMENTS
            if run_plan(plan, tight, assignment, sizes=sizes).seconds > round(soonest * factor) * 60
        ]
        missed += [(factor, assignment) for assignment in late]
    assert missed == []
    assert promised >= 2


def test_as_many_hosts_preprocess_as_are_needed() -> None:
    """64 equal objects of 300 MB: four hosts read for 240 s, however the objects are assigned, which is in time."""
    case = Case(
        name="hosts",
        sizes=lambda: np.full(64, 300 * MB),
        deadline_minutes=22,
        world=build_world(transform=10.0),
    )
    plan = plan_case(case, preprocess=True, history=measure_world(case, preprocess=True))
    assert plan.preprocess is not None
    for assignment in ASSIGNMENTS:
        assert run_plan(plan, case, assignment).seconds <= 22 * 60
    bound = compute_bound(case, preprocess=True, deadline_seconds=22 * 60)
    assert plan.preprocess.instance_count <= 4
    assert run_plan(plan, case, "in turn").dollars <= 1.15 * bound.dollars


def test_of_nights_whose_plan_says_95_as_many_are_in_time() -> None:
    *_, everything = measure_calibration(1)
    assert everything.nights == 100
    assert 0.90 <= everything.promises_kept <= 0.99
    assert everything.deadlines_kept >= 0.93


def test_after_a_model_became_slower_promises_hold_again_within_three_nights() -> None:
    found = {each.name: each.promises_kept for each in measure_after_step(5)}
    assert found["the night of the step"] == 0.0
    assert found["3 nights later"] >= 0.75
    assert found["5 nights later and on"] >= 0.90


def test_an_outlier_among_calm_nights_moves_a_plan_little() -> None:
    """A night of half the speed: the nights after it are planned neither as if it were usual nor as if nothing was."""
    world = build_world(noise=replace(NOISE, night_sigma=0.03))
    case = Case(name="calm", sizes=lambda: np.full(200, 100 * MB), deadline_minutes=120, world=world)
    nights: list[Night] = list(
        run_nights(
            case, 14, preprocess=True,
            get_world=lambda night: world.change(bytes_per_second=0.5) if night == 9 else world,
        )
    )  # fmt: skip
    before, after = nights[8], nights[10]
    assert after.expected_seconds <= 1.25 * before.expected_seconds
    assert calibrate("after", nights[10:]).promises_kept == 1.0


def test_an_input_that_grows_is_no_surprise() -> None:
    case = Case(name="growing", sizes=lambda: np.full(200, 50 * MB), deadline_minutes=120)
    nights = list(run_nights(case, 12, preprocess=True, growth=0.1))
    assert all(night.is_promise_kept and not night.is_late for night in nights)
    assert all(0.9 <= night.expected_seconds / night.seconds <= 1.1 for night in nights)
    assert nights[-1].bound_dollars > 2 * nights[0].bound_dollars
    assert int(case.sizes().sum()) == GB * 10
