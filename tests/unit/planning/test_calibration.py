"""One shard first: the rest is sized from what it took, within what deadline and budget leave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from batch_inference.common.errors import PlanError
from batch_inference.planning.clusters.calibration import (
    CalibrationResult,
    CanaryShard,
    apply_calibration,
    size_remaining_transform,
)
from batch_inference.pricing.costs import StageUsage
from tests.unit.builders import MOMENT
from tests.unit.planning.test_goals import GB, MEASURED, plan
from tests.unit.planning.test_rate_history import row

CANARY = {"goals.calibrate": "canary", "transform.on_bad_records": "fail"}
OF_TEN = CanaryShard(records=100, total_records=1000, total_shards=10)


def use(*, busy: float | None = 100.0, running: float = 190.0) -> StageUsage:
    """The canary's job: 0.8 GB in 100 s of work after 90 s of start-up."""
    return StageUsage(
        stage="transform", job_name="j", instance_type="ml.m5.xlarge", instance_count=1, created_at=0.0,
        started_at=200.0, ended_at=200.0 + running, busy_seconds=busy,
    )  # fmt: skip


def resized(
    *,
    spent: float | None = 0.0,
    of: StageUsage | None = None,
    minutes: float = 0,
    more: dict[str, Any] | None = None,
    **params: Any,
) -> CalibrationResult:
    """For eight gigabytes, so many minutes after the plan was made."""
    changes = {**CANARY, "goals.on_over_budget": "approve", **(more or {})}
    made = plan([GB] * 8, changes, history=[], can_ask=True, **params)
    return size_remaining_transform(
        made, OF_TEN, of or use(), spent_dollars=spent, now=MOMENT + timedelta(minutes=minutes)
    )


def test_only_a_first_run_has_a_canary_and_only_where_the_pipeline_wants_it() -> None:
    first = plan([GB] * 8, CANARY, history=[])
    assert first.canary is not None
    assert (first.canary.max_instances, first.canary.requested_instance_count, first.canary.prefer) == (
        {"ml.m5.xlarge": 8},
        None,
        "cost",
    )
    assert any(text.startswith("No transform of this model was measured") for text in first.sentences)
    assert plan([GB] * 8, CANARY, history=MEASURED).canary is None
    silent = [row(busy_seconds=None, start_seconds=None)]
    assert plan([GB] * 8, CANARY, history=silent).canary is None, (
        "a server that logs nothing was measured too"
    )
    assert plan([GB] * 8, history=[]).canary is None
    quota = {"ml.m5.xlarge for transform job usage": 5}
    assert plan([GB] * 8, CANARY, history=[], quotas=quota).canary.max_instances == {"ml.m5.xlarge": 5}


def test_the_rest_is_sized_from_the_measured_rate() -> None:
    """0.8 of 8 GB took 100 s, so the other 7.2 GB take 900 s of work: alone if cost counts, on four by a deadline."""
    cheapest = resized()
    assert cheapest.instance_count == 1
    assert tuple(entry.text for entry in cheapest.log) == (
        "One of 10 shards was transformed first, on 1 × ml.m5.xlarge: 8 MB/s after 1 min 30 s to start.",
        "Transform uses 1 × ml.m5.xlarge for the other 9 shards, as that rate asks for.",
    )
    assert resized(prefer="speed").instance_count == 8
    assert resized(transform_instance_count=3).instance_count == 3
    assert 1 < resized(deadline="120", minutes=95).instance_count <= 8


def test_the_shards_that_are_there_are_as_many_requests_as_the_canary_was_one() -> None:
    """99 more like it, of 0.3 MB, take 8 instances 124 s, however much of the canary's 10 s the request itself was."""
    canary = CanaryShard(records=100, total_records=10_000, total_shards=100)
    made = plan([30_000_000], CANARY, history=[], can_ask=True, deadline="30")
    late = size_remaining_transform(
        made, canary, use(busy=10.0, running=100.0), spent_dollars=0.0, now=MOMENT + timedelta(minutes=29)
    )
    # After 60 s of Airflow's own tasks, 200 s of provisioning and 90 s of start-up.
    assert "another 7 min 54 s" in late.log[1].text


def test_a_model_slower_than_assumed_gets_more_instances_than_were_planned() -> None:
    slow = use(busy=2000.0, running=2090.0)
    planned = plan([GB] * 8, CANARY, history=[], deadline="300")
    assert resized(of=slow, deadline="300", minutes=60).instance_count > planned.transform.instance_count


def test_a_deadline_that_is_lost_takes_the_fastest_and_says_so() -> None:
    late = resized(deadline="120", minutes=119)
    assert late.instance_count == 8
    assert "the deadline of 09:30 UTC cannot be kept" in late.log[1].text


def test_a_rest_that_the_budget_does_not_pay_for_is_not_started() -> None:
    """Unless a person approved to exceed it."""
    assert resized(budget=1, spent=0.5).instance_count == 1
    with pytest.raises(
        PlanError, match=r"the rest would cost at least \$0\.0\d+; of the budget \$0\.01\d* is left"
    ):
        resized(budget=1, spent=0.99)
    assert resized(budget=0.0001, spent=0.99).instance_count == 1


def test_the_job_that_joins_keeps_its_part_of_the_time_and_of_the_budget() -> None:
    """What is left for the transform is what the join does not need."""
    joined = {"join.processing_above": 0, "join.instance_type": "ml.g5.24xlarge", "join.max_instances": 1}
    assert resized(budget=2, spent=1.7).instance_count == 1
    with pytest.raises(
        PlanError, match=r"is left besides the \$0\.\d+ of the join\. Nothing further was spent"
    ):
        resized(budget=2, spent=1.7, more=joined)
    alone, beside = (resized(deadline="120", minutes=93, more=more).instance_count for more in (None, joined))
    assert 1 < alone < beside


def test_a_canary_on_another_type_than_planned_sizes_the_rest_for_that_type() -> None:
    """AWS had none of the planned one; the rest goes where the rate was measured, within that type's own quota."""
    elsewhere = use().model_copy(update={"instance_type": "ml.m5.2xlarge"})
    types = {"transform.instance_types": ["ml.m5.2xlarge", "ml.m5.large"]}
    quotas = {"ml.m5.2xlarge for transform job usage": 3, "ml.m5.large for transform job usage": 2}
    found = resized(of=elsewhere, more=types, quotas=quotas, transform_instance_count=2)
    assert found.instance_count == 2
    assert found.instance_types == ("ml.m5.2xlarge", "ml.m5.large", "ml.m5.xlarge")
    assert found.log[0].text.startswith(
        "One of 10 shards was transformed first, on 1 × ml.m5.2xlarge, as AWS had no ml.m5.large: 8 MB/s"
    )
    made = plan([GB] * 8, {**CANARY, **types}, history=[], quotas=quotas)
    fastest = size_remaining_transform(
        made.model_copy(update={"canary": made.canary.model_copy(update={"prefer": "speed"})}),
        OF_TEN,
        elsewhere,
        spent_dollars=0.0,
        now=MOMENT,
    )
    assert (fastest.instance_count, fastest.instance_types) == (3, ("ml.m5.2xlarge", "ml.m5.xlarge"))


def test_without_logged_requests_all_of_the_canarys_time_counts_as_work() -> None:
    """Slower than it is, so never too few instances for a deadline."""
    blind = resized(of=use(busy=None))
    assert blind.log[0].text.endswith(f"{800 / 190:.3g} MB/s after 0.0 s to start.")


def test_the_report_shows_what_the_canary_showed_in_place_of_what_was_assumed() -> None:
    made = plan([GB] * 8, CANARY, history=[])
    found = resized().model_copy(update={"instance_types": ("ml.m5.2xlarge",)})
    shown = apply_calibration(made, found, 2)
    assert [text for text in shown.sentences if text.startswith("Transform uses ")] == [found.log[-1].text]
    assert (shown.transform.instance_count, shown.transform.instance_type) == (2, "ml.m5.2xlarge")
    assert made.transform.instance_count == 1
