"""The simulator bills what AWS would, shares nothing with the planner, and its figures are shown."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from tools.benchmarks import (
    billing_simulator,
    sizing,
    sizing_cases,
    sizing_nights,
    sizing_pictures,
    sizing_random,
    sizing_runs,
)
from tools.benchmarks.billing_simulator import (
    START_SECONDS,
    Machine,
    Noise,
    StageBound,
    assign_objects,
    compute_joint_bound,
    compute_loads,
    cut_and_merge,
    cut_shards,
    run_job,
)
from tools.benchmarks.sizing_cases import build_cases
from tools.benchmarks.sizing_nights import Night, calibrate
from tools.benchmarks.sizing_pictures import (
    Row,
    render_calibration,
    render_curves,
    render_exploration,
    render_first_nights,
    render_summary,
    render_svg,
)

MACHINE = Machine(bytes_per_second=2e6, dollars_per_hour=3600.0)
SIZES = np.array([4_000_000, 2_000_000, 2_000_000])


def test_every_instance_is_billed_until_the_slowest_ends() -> None:
    # 2 MB/s and 0.05 s for each object: 2.05, 1.05 and 1.05 s of work.
    job = run_job(SIZES, 2, "in turn", MACHINE)
    assert (job.billed_seconds, job.run_seconds, job.busy_seconds) == pytest.approx((2 * 93.10, 93.10, 4.15))
    assert (job.dollars, job.start_seconds, job.requests) == pytest.approx((186.20, START_SECONDS, 3))


@pytest.mark.parametrize(
    ("assignment", "loads"),
    [
        ("contiguous", [3.10, 1.05]), ("by bytes", [2.05, 2.10]), ("in turn", [3.10, 1.05]), ("greedy", [2.05, 2.10]),
    ],
)  # fmt: skip
def test_objects_are_assigned_in_every_plausible_way(assignment: str, loads: list[float]) -> None:
    found = compute_loads(MACHINE.compute_seconds(SIZES), SIZES, 2, assignment)
    assert sorted(found) == pytest.approx(sorted(loads))


def test_each_hash_is_another() -> None:
    many = np.ones(1000, dtype=np.int64)
    first, second = assign_objects(many, 4, "hash 1"), assign_objects(many, 4, "hash 2")
    assert (first != second).any()
    assert (first == assign_objects(many, 4, "hash 1")).all()


def test_each_list_is_billed_until_its_own_end() -> None:
    # 2.05, 1.05, 1.05 and 1.05 s of work: the heaviest alone, then one beside it and two together.
    job = run_job(np.array([4_000_000, 2_000_000, 2_000_000, 2_000_000]), 1, "", MACHINE, lists=2)
    assert (job.billed_seconds, job.run_seconds) == pytest.approx(
        (2 * START_SECONDS + 5.20, START_SECONDS + 3.10)
    )


def test_a_request_costs_its_own_time_and_a_large_object_has_several() -> None:
    machine = Machine(bytes_per_second=2e6, request_seconds=2.0, payload_bytes=1_000_000)
    assert machine.compute_seconds(SIZES).tolist() == pytest.approx([10.05, 5.05, 5.05])


def test_an_outlier_takes_longer_and_noise_is_the_same_for_the_same_seed() -> None:
    noise = Noise(night_sigma=0.1, instance_sigma=0.02, start_sigma=0.2, outlier_share=0.5)

    def run_nights() -> list[float]:
        rng = np.random.default_rng(1)
        sizes = np.full(50, 50_000_000)
        return [run_job(sizes, 2, "in turn", MACHINE, noise=noise, rng=rng).busy_seconds for _ in range(40)]

    nights = run_nights()
    assert nights == run_nights()
    calm = 50 * 25.05
    assert sum(night > 1.3 * calm for night in nights) in range(10, 31)
    assert min(nights) < calm


def test_objects_are_cut_and_put_together_in_the_order_of_their_keys() -> None:
    made, seconds = cut_and_merge(np.array([*[1_000] * 500, 20_000_000, 4_000_000]), 5_000_000, 100_000, 500)
    assert made.tolist() == [500_000, *[5_000_000] * 4, 4_000_000]
    assert seconds == pytest.approx(6 / 60 + 500 / 300 + 0.005)
    assert len(cut_and_merge(np.full(500, 1_000), 5_000_000, 100_000, 400).sizes) == 1 + 100


def test_preprocessing_writes_as_many_bytes_as_it_reads() -> None:
    sizes = np.array([10_000_000, 1, 5_000_000, 3_000_000])
    for hosts in (1, 2, 4):
        written = cut_shards(sizes, hosts, 1_000_000)
        assert abs(int(written.sum()) - int(sizes.sum())) <= len(written)


def test_the_bound_is_the_cheapest_pair_of_clusters_in_time() -> None:
    cheap = Machine(bytes_per_second=1.0, dollars_per_hour=3600.0, provisioning_seconds=0.0)
    one = StageBound([cheap], [1000.0], [0.0])
    assert compute_joint_bound([one], 16).dollars == 1090.0
    # One instance needs 60 + 1,090 s and two need 60 + 590 s each.
    assert compute_joint_bound([one], 16, 700.0).dollars == 1180.0
    assert compute_joint_bound([one, one], 16, 60 + 1090 + 590).dollars == 1090.0 + 1180.0
    assert compute_joint_bound([StageBound([cheap], [1000.0], [700.0])], 16, 700.0).dollars == math.inf
    # Jobs of their own are billed for their own work, however long the longest is.
    assert compute_joint_bound([StageBound([cheap], [1000.0], [900.0], True)], 16, 1060.0).dollars == 1180.0


def test_the_inputs_are_those_of_the_issue_and_from_one_object_to_a_million() -> None:
    cases = build_cases(1_000_000)
    assert len(cases) == 19
    counts = [len(case.sizes()) for case in cases]
    assert (min(counts), max(counts)) == (1, 1_000_000)


def test_tables_and_pictures_show_every_input_and_night() -> None:
    rows = [
        Row("one <object>", assignment, 1, 2, known, 1.2, 3.0, 0, "")
        for assignment, known in (("in turn", 1.0), ("hash 1", 1.08))
    ]
    direct = [Row("one <object>", "in turn", 0, 2, 1.01, 1.2, 8.0, 0, "pieces, 2")]
    assert render_summary(rows, direct).splitlines()[2:] == [
        "| one <object> | 3.00 | 1.080 (hash 1) | 1.200 | pieces, 2 | 8.00 | 1.010 | 1.200 |"
    ]
    assert render_svg(rows, direct).count("<rect") == 1 + 3 + 3
    nights = [
        Night(0, 60.0, 120.0, 90.0, 1.0, 0.5, 100.0, True),
        Night(1, 60.0, 70.0, 110.0, 1.0, 0.5, 100.0, True),
    ]
    curves = render_exploration({"flat": [1.0, 1.0], "contention": [2.5, 1.0]})
    assert (curves.count("<polyline"), curves.count(">contention<")) == (2, 1)
    picture = render_curves({"noise": nights})
    assert (picture.count("<circle"), picture.count('class="late"')) == (2, 1)
    assert render_first_nights({"noise": [*nights, Night(2, refusal="too dear")]}).splitlines()[2] == (
        "| noise | 2.00 (+50%) | 2.00, late (+83%) | refused |"
    )
    assert render_calibration([calibrate("noise", nights)]).splitlines()[2] == (
        "| noise | 2 | 50.0% | 2 | 50.0% | 2.00 |"
    )


def test_the_simulator_shares_no_code_with_the_planner() -> None:
    def list_imports(*modules: object) -> set[str]:
        trees = [ast.parse(Path(str(module.__file__)).read_text()) for module in modules]  # type: ignore[attr-defined]
        return {
            alias.name
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batch_inference")
            for alias in node.names
        }

    assert list_imports(billing_simulator, sizing_cases, sizing_pictures) == set()
    assert list_imports(sizing, sizing_nights, sizing_random, sizing_runs) == {
        "HistoryRow", "Pipeline", "Plan", "PlanError", "PlanningContext", "RunInfo", "RunParams", "S3Object",
        "make_plan", "plan_model_without_lookup",
    }  # fmt: skip
