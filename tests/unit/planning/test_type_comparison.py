"""Each instance type that a run may use, compared with the plan's choice."""

from __future__ import annotations

import html
import re
from contextlib import suppress
from typing import Any

import pytest

from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import ClusterDecision, NoClustersError
from batch_inference.planning.clusters.type_comparison import TypeRow, compare_types
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from batch_inference.reporting.page import build_environment
from tests.unit.builders import WITHOUT_PREPROCESS, context, objects, pipeline, run_info
from tests.unit.planning.test_goals import GB, MEASURED

TYPES = {
    "goals.prefer": "cost",
    "transform.max_instances": 8,
    "preprocess.max_instances": 8,
    "transform.instance_types": ["ml.m5.2xlarge", "ml.m5.4xlarge"],
    "prices": {"ml.m5.2xlarge": 0.1, "ml.m5.4xlarge": 50},
}


def compare(changes: dict[str, Any] | None = None, **params: Any) -> tuple[list[TypeRow], ClusterDecision]:
    """The rows for eight objects of 1 GB, and the decision that they compare."""
    of = pipeline({**TYPES, **(changes or {})})
    found: list[ClusterDecision] = []
    planned = context(of, history=MEASURED)
    with suppress(NoClustersError):
        make_plan(of, RunParams(**params), objects([GB] * 8), run_info(), planned, on_decision=found.append)
    return compare_types(found[0]), found[0]


def test_only_a_plan_without_a_run_keeps_the_table() -> None:
    """Its page shows it; XCom of a run is not burdened with it."""
    of = pipeline(TYPES)
    made = make_plan(
        of, RunParams(dry_run=True), objects([GB] * 8), run_info(), context(of, history=MEASURED)
    )
    assert made.type_table is not None
    assert list(made.type_table.rows) == compare()[0]
    assert Plan.from_document(made.to_xcom(), "XCom").type_table == made.type_table
    run = make_plan(of, RunParams(), objects([GB] * 8), run_info(), context(of, history=MEASURED))
    assert run.type_table is None


def test_types_that_the_quota_excludes_are_named() -> None:
    of, quotas = pipeline(TYPES), {"ml.m5.4xlarge for transform job usage": 0}
    planned = context(of, history=MEASURED, quotas=quotas)
    made = make_plan(of, RunParams(dry_run=True), objects([GB] * 8), run_info(), planned)
    assert made.type_table is not None
    assert made.type_table.excluded == (("transform", "ml.m5.4xlarge"),)
    assert "ml.m5.4xlarge" not in {row.instance_type for row in made.type_table.rows}


def test_the_page_shows_a_line_for_each_type() -> None:
    of = pipeline(TYPES)
    params = RunParams(deadline="30", budget=5.0, dry_run=True)
    made = make_plan(of, params, objects([GB] * 8), run_info(), context(of, history=MEASURED))
    module = build_environment().get_template("type_table.html.j2").module
    shown = str(module.type_table(made.to_xcom()["type_table"]))  # type: ignore[attr-defined]
    read = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())
    assert "Stage Instances Run takes At most Cost In time In budget preprocess" in read
    assert made.type_table is not None
    for row in made.type_table.rows:
        assert f"{row.instance_count} × {row.instance_type}" in read
    assert read.count("chosen ") == 3
    assert "style=" not in shown


def test_there_is_a_row_for_each_type_of_a_stage_and_the_chosen_one_has_the_plans_figures() -> None:
    rows, decision = compare()
    assert [(row.stage, row.instance_type, row.is_chosen) for row in rows] == [
        ("preprocess", "ml.m5.xlarge", True),
        ("transform", "ml.m5.xlarge", False),
        ("transform", "ml.m5.2xlarge", True),
        ("transform", "ml.m5.4xlarge", False),
    ]
    chosen = decision.cluster_plan
    assert {(row.seconds, row.dollars) for row in rows if row.is_chosen} == {(chosen.seconds, chosen.dollars)}
    assert all((row.dollars or 0) >= (chosen.dollars or 0) for row in rows)
    assert {(row.in_time, row.in_budget) for row in rows} == {(None, None)}


def test_a_type_that_misses_the_deadline_or_the_budget_is_shown_with_what_it_would_take() -> None:
    """The first type keeps the deadline with more instances; the third is too dear on any number."""
    rows, decision = compare(deadline="30", budget=5.0)
    by_type = {row.instance_type: row for row in rows if row.stage == "transform"}
    assert {name: row.in_budget for name, row in by_type.items()} == {
        "ml.m5.xlarge": True, "ml.m5.2xlarge": True, "ml.m5.4xlarge": False,
    }  # fmt: skip
    assert decision.goals.seconds_to_deadline == 1800
    for row in rows:
        late = "yes" if row.seconds_high <= 1800 else "maybe" if row.seconds <= 1800 else "no"
        assert row.in_time == late
    assert by_type["ml.m5.xlarge"].instance_count > 1


def test_an_unknown_price_is_neither_in_the_budget_nor_above_it() -> None:
    rows, _ = compare(
        {"prices": {"ml.m5.2xlarge": 0.1}, "transform.instance_types": ["ml.new.xlarge"]}, budget=90.0
    )
    (unknown,) = (row for row in rows if row.instance_type == "ml.new.xlarge")
    assert (unknown.dollars, unknown.in_budget, unknown.is_chosen) == (None, None, False)


@pytest.mark.parametrize(
    ("changes", "params"),
    [
        ({}, {"deadline": "1"}),
        ({}, {"budget": 0.0001}),
        (WITHOUT_PREPROCESS, {"deadline": "1"}),
    ],
)
def test_where_no_clusters_meet_the_goals_the_types_are_compared_with_the_nearest(
    changes: dict[str, Any], params: dict[str, Any]
) -> None:
    """That is when a person wants the table: a type that is fast or cheap enough may be in it."""
    rows, decision = compare(changes, **params)
    assert not decision.meets_goals
    assert len(rows) == len({(row.stage, row.instance_type) for row in rows}) >= 3
    assert {row.in_time for row in rows} == ({"no"} if "deadline" in params else {None})
    assert {row.in_budget for row in rows} == ({False} if "budget" in params else {None})
    assert {row.stage for row in rows if row.is_chosen} == {row.stage for row in rows}
