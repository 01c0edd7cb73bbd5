"""A run gets the smallest clusters that meet its goals, or fails before anything is spent and says what would do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.common.errors import PlanError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.config.schedule import check_deadline, resolve_deadline
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from tests.unit.builders import MOMENT, context, objects, pipeline, pipeline_without_preprocess, run_info
from tests.unit.planning.test_rate_history import row

GB = 1_000_000_000
# 10 MB/s to preprocess and 2 MB/s to transform per instance, 90 s to start, 240 s to provision, known exactly enough.
MEASURED = [
    row(
        stage=stage,
        bytes=int(rate * 1000),
        busy_seconds=1000.0,
        data_time=f"2026-01-{day:02d}",
        start_seconds=90.0,
    )
    for stage, rate in (("preprocess", 10e6), ("transform", 2e6))
    for day in (1, 2, 3)
]


def plan(
    sizes: list[int], changes: dict[str, Any] | None = None, *, history: list[HistoryRow] | None = None,
    quotas: dict[str, int] | None = None, can_ask: bool = False, **params: Any,
) -> Plan:  # fmt: skip
    limits = {"transform.max_instances": 8, "preprocess.max_instances": 8, "goals.prefer": "cost"}
    of: Pipeline = pipeline({**limits, **(changes or {})})
    return make_plan(
        of, RunParams(**params), objects(sizes), run_info(),
        context(
            of, history=MEASURED if history is None else history, quotas=quotas or {}, can_request_approval=can_ask
        ),
    )  # fmt: skip


def counts(made: Plan) -> tuple[int, int]:
    return made.preprocess.instance_count, made.transform.instance_count


def test_without_a_deadline_the_cheapest_run_has_one_instance_per_stage() -> None:
    made = plan([GB] * 8)
    assert counts(made) == (1, 1)
    assert made.estimate.transform.seconds == pytest.approx(90 + 8000 / 2)
    assert (
        "Transform uses 1 × ml.m5.xlarge, because cost is preferred, there is no deadline, and more instances never "
        "cost less." in made.sentences
    )


def test_requests_and_jobs_that_are_expected_to_be_given_up_are_named_with_what_to_change() -> None:
    """At 2 kB/s per instance a shard of 1.9 MB takes four times 500 s with four at a time, and all take 5 hours."""
    slow = [
        each.model_copy(update={"bytes": 2_000_000}) if each.stage == "transform" else each
        for each in MEASURED
    ]

    def find(words: str, **transform: Any) -> list[str]:
        limits = {"max_instances": 1, **transform}
        made = plan([40_000_000], {f"transform.{key}": each for key, each in limits.items()}, history=slow)
        return [text for text in made.sentences if words in text]

    (late,) = find("is expected to take")
    assert re.fullmatch(
        r"A request of 1\.9 MB is expected to take 33 min \d\d s with 4 at a time, longer than the 600 s that "
        r"SageMaker waits: raise transform\.timeout_seconds, or lower transform\.max_payload_mb or "
        r"transform\.max_concurrent_transforms\.",
        late,
    )
    for changes in (
        {"timeout_seconds": 3600}, {"max_concurrent_transforms": 1}, {"batch_strategy": "SingleRecord"},
    ):  # fmt: skip
        assert find("is expected to take", **changes) == []
    (stopped,) = find("is expected to run", max_runtime_minutes=60)
    assert re.fullmatch(
        r"Transform is expected to run for \d h \d\d min, and is stopped after 1 h 00 min: raise "
        r"transform\.max_runtime_minutes, or allow more instances\.",
        stopped,
    )
    assert find("is expected to run", max_runtime_minutes=600) == []
    assert not any("is expected to" in text for text in plan([GB]).sentences)


def test_with_speed_preferred_the_limits_are_used_up() -> None:
    assert counts(plan([GB] * 8, prefer="speed")) == (8, 8)


def test_speed_does_not_pay_for_instances_that_buy_no_time() -> None:
    """Of nine objects the fullest of five instances reads two; so does that of eight."""
    assert counts(plan([GB] * 9, prefer="speed"))[0] == 5


def test_a_deadline_gets_the_cheapest_clusters_that_meet_it_at_the_slow_end() -> None:
    made = plan([GB] * 8, deadline="60")
    assert made.deadline == MOMENT + timedelta(minutes=60)
    assert made.estimate.seconds_high <= 3600
    # Every smaller total of instances misses the deadline.
    preprocess, transform = counts(made)
    for smaller in ((preprocess - 1, transform), (preprocess, transform - 1)):
        if 0 not in smaller:
            fixed: dict[str, Any] = {
                "preprocess_instance_count": smaller[0],
                "transform_instance_count": smaller[1],
            }
            assert plan([GB] * 8, **fixed).estimate.seconds_high > 3600
    assert any("that is the cheapest that is done by 08:30 UTC" in text for text in made.sentences)


def test_a_plan_says_in_how_many_nights_it_is_done_by_when() -> None:
    made = plan([GB] * 8, deadline="60")
    assert (
        "The run should be done by 08:17 UTC (in 95 of 100 nights by 08:25 UTC); the deadline is 08:30 UTC, which is "
        "kept in 98 of 100 nights." in made.sentences
    )
    assert made.estimate.confidence == 0.95
    assert made.estimate.describe() in made.sentences
    assert any("in 95 of 100 nights by" in text for text in plan([GB] * 8).sentences)


def test_more_confidence_takes_more_instances_and_its_time_is_kept() -> None:
    made = {each: plan([GB] * 8, {"goals.confidence": each}, deadline="50") for each in (0.5, 0.95, 0.99)}
    assert [sum(counts(each)) for each in made.values()] == sorted(
        {sum(counts(each)) for each in made.values()}
    )
    for each in made.values():
        assert each.estimate.seconds <= each.estimate.seconds_high <= 50 * 60
    assert made[0.99].estimate.confidence == 0.99


@pytest.mark.parametrize("confidence", [0.4, 0.9999, 1.0])
def test_no_other_confidence_is_accepted(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"goals\.confidence"):
        pipeline({"goals.confidence": confidence})


def test_a_deadline_that_only_holds_if_the_rates_do_takes_the_safest_cluster_and_says_so() -> None:
    unmeasured = plan([GB] * 8, prefer="speed", history=[])
    minutes = int(unmeasured.estimate.seconds // 60) + 1
    assert unmeasured.estimate.seconds_high > minutes * 60
    made = plan([GB] * 8, deadline=str(minutes), history=[])
    assert counts(made) == (8, 8)
    assert any(
        "no run of preprocess on ml.m5.xlarge and transform on ml.m5.xlarge was measured yet, so that nothing is sure "
        "to be done by 07:52 UTC" in text
        for text in made.sentences
    )


def test_where_speed_is_preferred_and_nothing_is_sure_the_fastest_is_taken_and_said_to_be() -> None:
    minutes = int(plan([GB] * 8, prefer="speed").estimate.seconds // 60) + 1
    made = plan([GB] * 8, prefer="speed", deadline=str(minutes))
    assert any(
        "is done by 07:53 UTC in 95 of 100 nights, speed is preferred, and the limits allow no faster" in text
        for text in made.sentences
    )
    assert not any("costs least" in text for text in made.sentences)


def test_a_deadline_beyond_the_limits_says_what_would_be_needed_and_the_earliest_end() -> None:
    with pytest.raises(PlanError) as caught:
        plan([GB] * 32, {"transform.max_instances": 4}, deadline="60")
    assert str(caught.value) == (
        "needs 4 × ml.m5.xlarge to preprocess and 8 × ml.m5.xlarge to transform to be done by 08:30 UTC; "
        "preprocess.max_instances is 8 and transform.max_instances is 4; earliest end 08:55 UTC"
    )


def test_what_is_said_to_be_needed_is_enough() -> None:
    with pytest.raises(PlanError) as caught:
        plan([GB] * 32, {"transform.max_instances": 4}, deadline="60")
    words = str(caught.value).split()
    wanted: dict[str, Any] = {
        "preprocess_instance_count": int(words[1]),
        "transform_instance_count": int(words[7]),
    }
    assert plan([GB] * 32, {"transform.max_instances": 100}, **wanted).estimate.seconds <= 3600


def test_a_deadline_that_no_cluster_can_meet_says_why() -> None:
    with pytest.raises(PlanError) as caught:
        plan([GB] * 8, deadline="10")
    assert str(caught.value).startswith(
        "the run cannot be done by 07:40 UTC with any number of instances: provisioning, start-up and Airflow's "
        "own tasks take 12 min 00 s of the 10 min 00 s left"
    )


def test_the_preprocessing_of_one_large_object_cannot_be_bought_faster() -> None:
    with pytest.raises(PlanError, match="cannot be divided further"):
        plan([40 * GB], deadline="60")


def test_a_budget_limits_the_fastest_run() -> None:
    free = plan([GB] * 8, prefer="speed")
    assert free.estimate.dollars is not None
    budget = round(free.estimate.dollars * 0.9, 2)
    made = plan([GB] * 8, prefer="speed", budget=budget)
    assert made.estimate.dollars is not None
    assert made.estimate.dollars <= budget
    assert sum(counts(made)) < sum(counts(free))
    assert any("the limits and the budget allow no faster" in text for text in made.sentences)


def test_a_run_above_its_budget_fails_before_it_costs() -> None:
    with pytest.raises(PlanError) as caught:
        plan([GB] * 8, budget=0.1)
    assert str(caught.value) == (
        "the budget is $0.10, but the cheapest clusters cost about $0.3182: 1 × ml.m5.xlarge to preprocess and 1 × "
        "ml.m5.xlarge to transform; raise the budget"
    )
    with pytest.raises(PlanError, match=r"that are done by .*; raise the budget$"):
        plan([GB] * 8, budget=0.1, deadline="30")
    with pytest.raises(PlanError, match=r"that are done by .*; raise the budget, or allow more time$"):
        plan([GB] * 8, budget=0.319, deadline="30")


def test_a_run_above_its_budget_waits_for_a_person_where_the_pipeline_says_so() -> None:
    made = plan([GB] * 8, {"goals.on_over_budget": "approve"}, budget=0.1, can_ask=True)
    assert made.approval_reason == (
        "the budget is $0.10, but the cheapest clusters cost about $0.3182: 1 × ml.m5.xlarge to preprocess and 1 × "
        "ml.m5.xlarge to transform"
    )
    assert any(
        text.startswith("A person must approve this run: the budget is $0.10") for text in made.sentences
    )
    assert plan([GB] * 8, budget=1).approval_reason is None
    with pytest.raises(PlanError, match="on_over_budget is 'approve', but nobody can approve this run"):
        plan([GB] * 8, {"goals.on_over_budget": "approve"}, budget=0.1)


def test_a_budget_that_cannot_be_checked_is_refused() -> None:
    unpriced = {"transform.instance_type": "ml.c4.xlarge"}
    with pytest.raises(
        PlanError, match=r"because the price of ml\.c4\.xlarge is unknown; state it under prices"
    ):
        plan([GB], unpriced, budget=5)
    made = plan([GB], {**unpriced, "prices": {"ml.c4.xlarge": 0.204}}, budget=5)
    assert made.estimate.transform.dollars == pytest.approx(
        made.estimate.transform.billed_seconds * 0.204 / 3600
    )


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.995, 0.999])
def test_a_safe_plan_says_that_its_deadline_is_kept_in_as_many_nights_as_wanted(confidence: float) -> None:
    """In the worst assignment of objects, of which the expected one is not the least."""
    goals = {"goals.confidence": confidence, "transform.max_jobs": 1, "input.compression": "gzip"}
    of = pipeline_without_preprocess({**goals, "transform.max_instances": 8, "goals.prefer": "cost"})
    for minutes in range(40, 200, 5):
        params, listing = RunParams(deadline=str(minutes)), objects([GB, GB // 4, *[GB // 8] * 9])
        try:
            made = make_plan(of, params, listing, run_info(), context(of, history=MEASURED))
        except PlanError:
            continue
        [text] = [each for each in made.sentences if each.startswith("The run should be done by")]
        found = re.search(r"which is kept in ([\d,]+) of ([\d,]+) nights", text)
        assert found is not None
        kept, total = (int(each.replace(",", "")) for each in found.groups())
        is_safe = MOMENT + timedelta(seconds=made.estimate.seconds_high) <= made.deadline
        assert is_safe == (kept >= confidence * total - 1e-6), (minutes, found[0])
        assert made.estimate.seconds_low <= made.estimate.seconds <= made.estimate.seconds_high


def test_a_measured_type_without_a_price_does_not_evade_the_budget() -> None:
    """Measured types come first where there is a deadline, but of those with a price."""
    faster = [
        each.model_copy(update={"instance_type": "ml.c4.xlarge"})
        for each in MEASURED
        if each.stage == "transform"
    ]
    made = plan(
        [GB] * 2, {"transform.instance_types": ["ml.c4.xlarge"]}, history=[*MEASURED[:3], *faster],
        budget=5, deadline="300",
    )  # fmt: skip
    assert made.transform.instance_type == "ml.m5.xlarge"
    assert made.estimate.dollars is not None


def test_no_type_is_left_out_silently_where_no_price_is_known() -> None:
    made = plan(
        [GB], {"transform.instance_type": "ml.c4.xlarge", "transform.instance_types": ["ml.c4.2xlarge"]}
    )
    assert any(text.startswith("ml.c4.2xlarge was not weighed to transform") for text in made.sentences)
    assert not any(text.startswith("ml.c4.xlarge was not weighed") for text in made.sentences)


def test_a_trial_of_other_settings_says_nothing_of_a_run_that_explores_no_more() -> None:
    tried = row(
        bytes=int(2e9), busy_seconds=10_000.0, is_trial=True, max_concurrent_transforms=1, max_payload_mb=1,
        batch_strategy="MultiRecord", data_time="2026-01-04",
    )  # fmt: skip
    assert plan([GB], history=[*MEASURED, tried]).estimate == plan([GB]).estimate


def test_a_cost_that_cannot_be_known_is_said_to_be_unknown() -> None:
    made = plan([GB], {"transform.instance_type": "ml.c4.xlarge"})
    assert made.estimate.dollars is None
    assert any(
        "its cost is unknown, because an instance type has no known price" in text for text in made.sentences
    )


def test_of_acceptable_types_the_cheapest_for_the_work_is_taken() -> None:
    faster = [
        row(
            stage="transform",
            instance_type="ml.m5.2xlarge",
            bytes=int(6e9),
            busy_seconds=1000.0,
            data_time=f"2026-01-0{day}",
        )
        for day in (1, 2, 3)
    ]
    types = {"transform.instance_types": ["ml.m5.2xlarge"]}
    # At three times the rate for twice the price the larger type is cheaper; as fast per dollar, it is not.
    assert plan([GB] * 8, types, history=MEASURED + faster).transform.instance_type == "ml.m5.2xlarge"
    assert plan([GB] * 8, types).transform.instance_type == "ml.m5.xlarge"
    typed = plan([GB] * 8, types, history=MEASURED + faster, transform_instance_type="ml.m5.xlarge")
    assert typed.transform.instance_type == "ml.m5.xlarge"


def test_a_type_without_a_price_is_left_out_and_the_plan_says_so() -> None:
    made = plan([GB] * 8, {"transform.instance_types": ["ml.c4.2xlarge"]})
    assert made.transform.instance_type == "ml.m5.xlarge"
    assert (
        "ml.c4.2xlarge was not weighed to transform, because its price is not known: state it under prices, in dollars "
        "per hour." in made.sentences
    )


def test_a_deadline_is_not_entrusted_to_a_type_that_was_never_measured() -> None:
    """At half the price per speed it would be the cheapest; without a deadline it is."""
    types = {"transform.instance_types": ["ml.m5.2xlarge"], "prices": {"ml.m5.2xlarge": 0.23}}
    assert plan([GB] * 8, types).transform.instance_type == "ml.m5.2xlarge"
    kept = plan([GB] * 8, types, deadline="75")
    assert kept.transform.instance_type == "ml.m5.xlarge"
    assert kept.estimate.seconds_high <= 75 * 60


def test_every_acceptable_type_is_tried_without_capacity_the_chosen_one_first() -> None:
    """Also the pipeline's main type, where another was chosen; none on which the job could not run as it is sized."""
    types = {"transform.instance_types": ["ml.m5.large", "ml.c4.xlarge"]}
    small, large, unpriced = "ml.m5.large", "ml.m5.xlarge", "ml.c4.xlarge"
    fast = [row(stage="transform", instance_type=small, bytes=int(6e9), busy_seconds=1000.0)]

    def tried(**params: Any) -> tuple[str, ...]:
        return plan([GB] * 8, types, history=MEASURED + fast, **params).transform.instance_types

    assert tried() == (small, large, unpriced)
    assert tried(transform_instance_type=unpriced) == (unpriced,)
    assert tried(budget=50) == (small, large)
    few = {f"{large} for transform job usage": 2}
    assert tried(transform_instance_count=3, quotas=few) == (small, unpriced)
    assert tried(transform_instance_count=2, quotas=few) == (small, large, unpriced)
    dear = {"transform.instance_types": ["ml.g5.24xlarge"]}
    assert plan([GB] * 8, dear, budget=15).transform.instance_types == (large, "ml.g5.24xlarge")
    assert plan([GB] * 8, dear, budget=0.5).transform.instance_types == (large,)
    alone = plan([GB] * 8, types)
    assert alone.preprocess.instance_types == ("ml.m5.xlarge",)


def test_a_quota_of_the_account_lowers_the_limit_and_an_exhausted_one_is_an_error() -> None:
    name = "ml.m5.xlarge for transform job usage"
    assert counts(plan([GB] * 8, prefer="speed", quotas={name: 3})) == (8, 3)
    with pytest.raises(
        PlanError, match=r"quota 'ml\.m5\.xlarge for transform job usage' is 0, and transform needs 1"
    ):
        plan([GB], quotas={name: 0})
    with pytest.raises(PlanError, match="is 3, and transform needs 5"):
        plan([GB], quotas={name: 3}, transform_instance_count=5)


def test_a_quota_below_the_limit_is_said_and_named_when_the_deadline_needs_more() -> None:
    """Of one type or across all, whichever is tighter."""
    quotas = {
        "ml.m5.xlarge for transform job usage": 6,
        "Number of instances across all transform jobs": 3,
        "ml.m5.xlarge for processing job usage": 50,
    }
    made = plan([GB] * 8, prefer="speed", quotas=quotas)
    assert counts(made) == (8, 3)
    assert [text for text in made.sentences if "quota" in text] == [
        "The account's quota lets transform have 3 × ml.m5.xlarge, fewer than the 8 that the pipeline allows."
    ]
    with pytest.raises(PlanError, match="the account's quota lets transform have 3; earliest end"):
        plan([GB] * 8, quotas=quotas, deadline="30")
    with pytest.raises(PlanError, match="quota 'Number of instances across all transform jobs' is 0"):
        plan([GB], quotas={**quotas, "Number of instances across all transform jobs": 0})


def test_max_instances_of_a_run_lowers_both_stages_and_raises_none() -> None:
    assert counts(plan([GB] * 8, prefer="speed", max_instances=3)) == (3, 3)
    assert counts(plan([GB] * 8, prefer="speed", max_instances=50)) == (8, 8)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("90", datetime(2026, 1, 31, 9, 0, tzinfo=UTC)),
        (90, datetime(2026, 1, 31, 9, 0, tzinfo=UTC)),
        ("08:00", datetime(2026, 1, 31, 8, 0, tzinfo=UTC)),
        ("6:00", datetime(2026, 2, 1, 6, 0, tzinfo=UTC)),
        ("07:30", datetime(2026, 2, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_deadline_is_minutes_from_now_or_the_next_such_time_of_day(
    value: int | str, moment: datetime
) -> None:
    assert resolve_deadline(value, MOMENT) == moment


@pytest.mark.parametrize("value", ["", "0", "-5", "24:00", "7:5", "soon", "1.5", True, "06:00:00"])
def test_anything_else_is_no_deadline(value: Any) -> None:
    with pytest.raises(ValueError, match="allowed are minutes from the start of the run"):
        check_deadline(value)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 20 * GB), min_size=1, max_size=20), minutes=st.integers(1, 600),
    budget=st.one_of(st.none(), st.floats(0.01, 50)), prefer=st.sampled_from(["cost", "speed"]),
)  # fmt: skip
def test_a_plan_that_is_made_meets_its_goals_by_its_own_estimate(
    sizes: list[int], minutes: int, budget: float | None, prefer: str
) -> None:
    try:
        made = plan(sizes, deadline=str(minutes), budget=budget, prefer=prefer)
    except PlanError:
        # Then not even the fastest within the limits is in time, or the cheapest in time is above the budget.
        fastest = plan(sizes, prefer="speed")
        assert fastest.estimate.seconds > minutes * 60 or budget is not None
        return
    assert made.estimate.seconds <= minutes * 60
    assert budget is None or (made.estimate.dollars or 0) <= budget
    assert made.preprocess.instance_count <= min(8, len(sizes))
    assert made.transform.instance_count <= min(8, made.transform.shards)
