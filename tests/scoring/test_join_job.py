"""When a processing job joins, on how many instances, and that the plan's estimate counts it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from include.scoring.cost import load_prices
from include.scoring.history import HistoryRow
from include.scoring.join_job import size_join_job
from tests.scoring.builders import direct, pipeline, plan

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
    assert made.chosen_by["join.instance_count"] == "plan"
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
    """Whatever the model was."""
    row = HistoryRow(
        pipeline="churn", run_id="r", moment="2026-01-01", stage="join", instance_type="ml.m5.xlarge",
        instance_count=1, model="another", bytes=10 * GB, records=1, objects=1, provisioning_seconds=60.0,
        running_seconds=2_000.0, busy_seconds=1_000.0, start_seconds=50.0, predicted_seconds=None, dollars=None,
    )  # fmt: skip
    made = size_join_job(
        pipeline(LARGE), 20 * GB, 100, history=[row], prices=load_prices(), speed=False
    )  # 10 MB/s, so 9 GB in a quarter of an hour
    assert made is not None
    assert made[0].instance_count == 3


def test_the_job_needs_the_shards_that_preprocess_writes() -> None:
    with pytest.raises(ValidationError, match=r"join\.processing_above.*shares out the shards"):
        direct(LARGE)
