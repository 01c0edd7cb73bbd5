"""How long a run above its budget may wait for a person."""

from __future__ import annotations

from datetime import timedelta

from batch_inference.planning.planner import compute_approval_deadline
from tests.unit.builders import MOMENT
from tests.unit.planning.test_goals import GB, plan

APPROVE = {"goals.on_over_budget": "approve", "goals.approve_within_minutes": 60}


def test_a_question_is_open_as_long_as_the_pipeline_says_but_never_so_long_that_the_deadline_is_lost() -> (
    None
):
    def minutes(deadline: int | None, needs: float) -> float:
        at = None if deadline is None else MOMENT + timedelta(minutes=deadline)
        by = compute_approval_deadline(MOMENT, within_minutes=60, deadline=at, run_seconds=needs)
        return (by - MOMENT).total_seconds() / 60

    assert minutes(None, 600) == 60
    assert minutes(300, 600) == 60
    assert minutes(40, 600) == 30
    # However tight it is, a person who sits in front of it can answer.
    assert minutes(10, 600) == 1


def test_the_plan_says_until_when_and_a_plan_within_budget_does_not_ask() -> None:
    asked = plan([GB] * 8, APPROVE, budget=0.1, can_ask=True)
    assert asked.approve_by == MOMENT + timedelta(minutes=60)
    late = plan([GB] * 8, APPROVE, budget=0.1, can_ask=True, deadline="90")
    assert late.approve_by == late.deadline - timedelta(seconds=late.estimate.seconds_high)
    assert plan([GB] * 8, APPROVE, budget=10, can_ask=True).approve_by is None
