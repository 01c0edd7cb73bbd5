"""When a processing job joins, on how many instances, and that it counts in all that a run is held to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from batch_inference.common.errors import PlanError, RequestLintError
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.instance_quotas import list_quota_names
from tests.unit.builders import pipeline, pipeline_without_preprocess, plan, run_preflight
from tests.unit.config.test_security import KEY
from tests.unit.planning import test_goals as goals
from tests.unit.planning.test_rate_history import row

MB = 1_000_000
GB = 1_000 * MB
LARGE = {"join.processing_above": 50 * MB, "goals.prefer": "cost"}


def test_a_pipeline_that_states_no_limit_is_joined_by_airflow_however_large() -> None:
    assert plan([900 * GB]).join.job is None


def test_an_input_up_to_the_limit_is_joined_by_airflow() -> None:
    made = plan([50 * MB], of=pipeline(LARGE))
    assert made.join.job is None
    assert made.estimate.join.seconds == 0


def test_a_large_input_gets_the_fewest_instances_that_join_it_in_a_quarter_of_an_hour() -> None:
    """At the stated default of 20 MB/s and vCPU, four of them, 72 GB an instance."""
    counts = [
        plan([part] * 10, of=pipeline({**LARGE, "join.max_instances": 5})).join.job.instance_count
        for part in (6 * MB, 7 * GB, 8 * GB, 30 * GB, 90 * GB)
    ]
    assert counts == [1, 1, 2, 5, 5]


def test_speed_takes_as_many_as_may_be_and_says_so() -> None:
    made = plan([100 * MB], of=pipeline({**LARGE, "goals.prefer": "speed", "join.max_instances": 3}))
    assert made.join.job.instance_count == 3
    assert [each.chosen_by for each in made.log if each.field == "join.instance_count"] == ["plan"]
    assert any(text.startswith("Join uses 3 × ml.m5.xlarge, because speed is") for text in made.sentences)


def test_the_job_is_part_of_what_the_run_takes_and_costs() -> None:
    without = plan([100 * MB], of=pipeline({"goals.prefer": "cost"}))
    made = plan([100 * MB], of=pipeline(LARGE))
    assert made.estimate.dollars == pytest.approx(without.estimate.dollars + made.estimate.join.dollars)
    assert made.estimate.seconds > without.estimate.seconds + made.estimate.join.seconds
    assert "join assumed at 80 MB/s" in made.estimate.basis


def test_the_job_has_room_for_its_share_all_predictions_and_the_output() -> None:
    job = plan([30 * GB] * 10, of=pipeline({**LARGE, "join.max_instances": 4})).join.job
    assert job.instance_count == 4
    assert job.volume_size_gb >= 2 * 75 * 2.5 + 300


def test_what_earlier_joins_measured_sizes_the_next() -> None:
    """Whatever the model was. At 10 MB/s it is 9 GB in a quarter of an hour."""
    measured = row(stage="join", model="another", bytes=10 * GB, busy_seconds=1_000.0)
    made = goals.plan([GB] * 20, LARGE, history=[*goals.MEASURED, measured])
    assert made.join.job.instance_count == 3


#: Preprocessing and transform on one instance each take 92 minutes for eight gigabytes, and joining another 7.
ONE_EACH: dict[str, Any] = {
    **LARGE,
    **{f"{each}.max_instances": 1 for each in ("preprocess", "transform", "join")},
}
EIGHT = [GB] * 8


def test_a_deadline_that_the_join_would_miss_is_refused_and_says_so() -> None:
    without = {**ONE_EACH, "join.processing_above": None}
    assert goals.plan(EIGHT, without, deadline="95").estimate.seconds == 5520
    with pytest.raises(
        PlanError, match=r"and \d+ × ml\.m5\.xlarge to join .*join\.max_instances is 1; earliest end"
    ):
        goals.plan(EIGHT, ONE_EACH, deadline="95")
    assert goals.plan(EIGHT, ONE_EACH, deadline="120").estimate.join.seconds == 90 + 100


def test_a_deadline_widens_the_join_where_that_is_enough() -> None:
    """At 2 MB/s five instances would do in a quarter of an hour."""
    slow = [
        row(stage="join", bytes=2 * GB, busy_seconds=1_000.0, data_time=f"2026-01-0{day}")
        for day in (1, 2, 3)
    ]
    changes = {**ONE_EACH, "join.max_instances": 20}

    def joining(**params: Any) -> int:
        made = goals.plan(EIGHT, changes, history=[*goals.MEASURED, *slow], **params)
        assert made.deadline is None or made.estimate.seconds_high <= float(params["deadline"]) * 60
        return made.join.job.instance_count

    assert joining() == 5
    assert joining(deadline="145") == 5
    assert joining(deadline="127") == 10


def test_the_budget_pays_for_the_join_too() -> None:
    """Eight of the dearest would exceed it alone; fewer are taken, or the run is refused before it costs."""
    dear = {**LARGE, "join.instance_type": "ml.g5.24xlarge", "join.max_instances": 8, "goals.prefer": "speed"}
    free, made = goals.plan(EIGHT, dear), goals.plan(EIGHT, dear, budget=2.0)
    assert free.join.job.instance_count == 8
    assert free.estimate.dollars > 2.0 >= made.estimate.dollars
    assert made.join.job.instance_count < 8
    with pytest.raises(
        PlanError,
        match=r"the cheapest clusters cost about \$0\.\d+: .* and 1 × ml\.g5\.24xlarge to join; raise the",
    ):
        goals.plan(EIGHT, dear, budget=0.5)


def test_a_join_whose_price_is_unknown_is_refused_under_a_budget() -> None:
    unpriced = {**LARGE, "join.instance_type": "ml.c4.xlarge"}
    with pytest.raises(PlanError, match=r"because the price of ml\.c4\.xlarge is unknown"):
        goals.plan(EIGHT, unpriced, budget=50)
    assert goals.plan(EIGHT, unpriced).estimate.dollars is None


def test_the_join_takes_longer_than_a_quarter_of_an_hour_before_it_exceeds_the_budget() -> None:
    """Each instance adds its start-up, so fewer cost less; the plan says why."""
    slow = row(stage="join", bytes=GB, busy_seconds=1_000.0)
    history = [*goals.MEASURED, slow]
    free = goals.plan(EIGHT, {**LARGE, "join.max_instances": 20}, history=history)
    assert free.join.job.instance_count == 9
    budget = free.estimate.dollars - 0.03
    made = goals.plan(EIGHT, {**LARGE, "join.max_instances": 20}, history=history, budget=budget)
    assert 1 <= made.join.job.instance_count < 9
    assert made.estimate.dollars <= budget
    assert any("because the budget allows no more" in text for text in made.sentences)


def test_quotas_and_the_runs_own_limit_hold_the_join() -> None:
    """AWS counts it as a processing job."""
    fast = {**LARGE, "goals.prefer": "speed", "join.max_instances": 8, "join.instance_type": "ml.m5.2xlarge"}
    of_type, across = (
        "ml.m5.2xlarge for processing job usage",
        "Number of instances across all processing jobs",
    )

    def joining(**limits: Any) -> int:
        return goals.plan(EIGHT, fast, **limits).join.job.instance_count

    assert joining() == 8
    assert joining(quotas={of_type: 3}) == 3
    assert joining(quotas={of_type: 5, across: 2}) == 2
    assert joining(max_instances=1) == 1
    with pytest.raises(PlanError, match=rf"quota '{of_type}' is 0, and join needs 1"):
        joining(quotas={of_type: 0})
    asked = list_quota_names(pipeline(fast), RunParams())
    assert {of_type, across, "ml.m5.xlarge for processing job usage"} <= asked
    assert of_type not in list_quota_names(pipeline({**fast, "join.processing_above": None}), RunParams())


def test_the_cheapest_of_the_types_joins_and_the_others_take_its_place_without_capacity() -> None:
    types = {"join.instance_type": "ml.m5.2xlarge", "join.instance_types": ["ml.m5.xlarge", "ml.m5.large"]}
    quota = {"ml.m5.large for processing job usage": 0}
    job = goals.plan(EIGHT, {**LARGE, **types}, quotas=quota).join.job
    assert job.instance_type == "ml.m5.xlarge"
    assert job.instance_types == ("ml.m5.xlarge", "ml.m5.2xlarge")


def test_there_are_shards_for_every_instance_of_the_join() -> None:
    """Ten each, also where one instance transforms; fewer instances where there is too little for that."""
    wide = {**LARGE, "goals.prefer": "speed", "transform.max_instances": 1, "join.max_instances": 40}
    made = goals.plan(EIGHT, wide)
    assert (made.join.job.instance_count, made.transform.instance_count) == (40, 1)
    assert made.transform.shards >= 400
    asked = goals.plan(
        [MB], {**wide, "join.processing_above": 0, "transform.max_instances": 4}, transform_instance_count=4
    )
    assert (asked.join.job.instance_count, asked.transform.shards) == (40, 40)
    small = goals.plan([3 * MB], {**wide, "join.processing_above": 0})
    assert 1 <= small.join.job.instance_count <= small.transform.shards


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 20 * GB), min_size=1, max_size=20), minutes=st.integers(1, 600),
    budget=st.one_of(st.none(), st.floats(0.01, 50)), prefer=st.sampled_from(["cost", "speed"]),
    kind=st.sampled_from(["ml.m5.large", "ml.g5.24xlarge"]), most=st.integers(1, 100),
)  # fmt: skip
def test_a_plan_with_a_join_job_meets_its_goals_by_its_own_estimate(
    sizes: list[int], minutes: int, budget: float | None, prefer: str, kind: str, most: int
) -> None:
    changes = {"join.processing_above": 0, "join.instance_type": kind, "join.max_instances": most}
    try:
        made = goals.plan(sizes, changes, deadline=str(minutes), budget=budget, prefer=prefer)
    except PlanError:
        fastest = goals.plan(sizes, changes, prefer="speed")
        assert fastest.estimate.seconds > minutes * 60 or budget is not None
        return
    assert made.estimate.seconds <= minutes * 60
    assert made.estimate.dollars == pytest.approx(
        sum(
            stage.dollars for stage in (made.estimate.preprocess, made.estimate.transform, made.estimate.join)
        )
    )
    assert budget is None or made.estimate.dollars <= budget
    assert made.join.job.instance_count <= min(most, made.transform.shards)
    run_preflight(pipeline(changes), made)


def test_what_sagemaker_would_refuse_of_the_join_is_refused_before_anything_is_paid_for() -> None:
    of = pipeline({**LARGE, "security.volume_kms_key": KEY})
    made = plan([100 * MB], of=of)
    run_preflight(of, made)
    bent = made.model_copy(
        update={
            "join": made.join.model_copy(
                update={"job": made.join.job.model_copy(update={"instance_type": "ml.m5d.4xlarge"})}
            )
        }
    )
    with pytest.raises(
        RequestLintError, match=r"VolumeKmsKeyId: found a key for ml\.m5d\.4xlarge; it has local NVMe"
    ):
        run_preflight(of, bent)


def test_the_job_needs_the_shards_that_preprocess_writes() -> None:
    with pytest.raises(ValidationError, match=r"join\.processing_above.*reads the shards of preprocess"):
        pipeline_without_preprocess(LARGE)
