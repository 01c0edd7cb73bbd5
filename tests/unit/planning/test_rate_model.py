"""Rates are learned from runs: seconds per byte and per request, start-up, their spread, and changes of a model."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.rate_model import Rate, compute_rate
from batch_inference.planning.clusters.sizing import count_requests
from tests.unit.planning.test_rate_history import row

MB = 1_000_000


def nights(*rates: float, **changes: Any) -> list[HistoryRow]:
    """Runs of 1 GB of one night each, at these megabytes per second."""
    return [
        row(data_time=f"2026-01-{day + 1:02d}", bytes=1000 * MB, busy_seconds=1000 / rate, **changes)
        for day, rate in enumerate(rates)
    ]


def of_layouts(
    *layouts: tuple[int, int], per_byte: float, per_request: float, **changes: Any
) -> list[HistoryRow]:
    """Runs of one night each, of so many bytes in so many objects, at exactly these seconds."""
    return [
        row(
            data_time=f"2026-01-{day + 1:02d}", bytes=size, objects=objects,
            busy_seconds=size * per_byte + count_requests(objects, size, None) * per_request, **changes,
        )
        for day, (size, objects) in enumerate(layouts)
    ]  # fmt: skip


def rate(history: list[HistoryRow], **changes: Any) -> Rate:
    known: dict[str, Any] = {
        "stage": "transform",
        "instance_type": "ml.m5.xlarge",
        "model_key": "churn-model",
    }
    return compute_rate(history, **{**known, **changes})


def test_without_runs_a_stated_default_applies_scaled_by_the_type() -> None:
    assert (rate([]).bytes_per_second, rate([]).seconds_per_request, rate([]).runs) == (2e6, 0.05, 0)
    assert rate([], instance_type="ml.m5.2xlarge").bytes_per_second == 4e6
    assert rate([], stage="preprocess").bytes_per_second == 20e6
    assert rate([]).describe_basis("transform") == (
        "transform assumed at 2 MB/s per instance (up to 47% longer in 95 of 100 runs), as no run has been measured yet"
    )


@pytest.mark.parametrize("name", ["ml.g5.48xlarge", "ml.p4d.24xlarge", "ml.inf2.xlarge", "ml.trn1.32xlarge"])
def test_the_vcpus_of_an_accelerated_type_say_nothing(name: str) -> None:
    assert rate([], instance_type=name) == rate([])


def test_nights_that_look_alike_predict_that_layout_exactly_and_do_not_pretend_to_know_the_split() -> None:
    """Round trips, which their seconds contain, are not added once more."""
    learned = rate(of_layouts(*[(750 * MB, 250_000)] * 3, per_byte=1e-7, per_request=0.2))
    assert learned.compute_work_seconds(750 * MB, 250_000) == pytest.approx(50_075)
    alike, other = learned.compute_spread(750 * MB, 250_000), learned.compute_spread(750 * MB, 100)
    assert alike < 0.15
    assert other > 0.5


def test_layouts_that_differ_tell_bytes_from_requests() -> None:
    layouts = [(600 * MB, 2000), (600 * MB, 100), (600 * MB, 500), (900 * MB, 100)]
    learned = rate(of_layouts(*layouts, per_byte=5e-7, per_request=2.0))
    assert learned.seconds_per_request == pytest.approx(2.0, rel=0.1)
    assert learned.compute_work_seconds(700 * MB, 1000) == pytest.approx(2350, rel=0.05)
    assert learned.compute_spread(700 * MB, 1000) < 0.2


def test_one_night_of_another_layout_is_no_outlier_although_many_nights_agree() -> None:
    layouts = [(600 * MB, 2000), *[(600 * MB, 100)] * 5]
    learned = rate(of_layouts(*layouts, per_byte=5e-7, per_request=2.0))
    assert learned.seconds_per_request == pytest.approx(2.0, rel=0.4)


@pytest.mark.parametrize("factor", [0.3, 1.6, 30])
def test_one_odd_night_moves_the_rate_little_and_widens_the_spread(factor: float) -> None:
    steady, odd = rate(nights(*[3] * 7)), rate(nights(3, 3, 3, 3, 3, 3 / factor, 3))
    assert odd.bytes_per_second == pytest.approx(3e6, rel=0.06)
    assert steady.margin < odd.margin < 2 * steady.margin


def test_a_new_version_is_taken_to_be_as_fast_as_those_before_it_until_it_has_run() -> None:
    """Only those of its own group, and the plan says so."""
    older = nights(3, 3, 3, model="churn/6")
    learned = rate([*older, *nights(9, model="other/6")], model_key="churn/7")
    assert learned.bytes_per_second == pytest.approx(3e6)
    assert learned.runs == 3
    assert "the last 3 runs of other versions of the model" in learned.describe_basis("transform")
    own = rate([*older, *nights(5, model="churn/7")], model_key="churn/7")
    assert own.bytes_per_second == pytest.approx(5e6)
    assert rate(older, model_key="churn").runs == 0


def test_runs_that_disagree_widen_the_margin_and_more_runs_narrow_it() -> None:
    margins = [
        rate(nights(*speeds)).margin
        for speeds in ([3] * 15, [3] * 3, [3], [2, 2.5, 3, 3.5, 4], [1, 2, 4, 9, 30])
    ]
    assert margins == sorted(margins)
    assert margins[0] < 0.1
    assert margins[2] > 0.4


def test_two_runs_in_a_row_that_are_slower_replace_the_earlier_ones() -> None:
    """One does not; nor do two on different sides; the third night is planned at the new speed."""
    before = [3.0, 3.1, 2.9, 3.0, 3.05]
    assert rate(nights(*before, 1.0)).bytes_per_second == pytest.approx(3e6, rel=0.06)
    learned = rate(nights(*before, 1.0, 1.02))
    assert learned.bytes_per_second == pytest.approx(1.01e6, rel=0.01)
    assert learned.runs == 2
    assert "the last 2 runs, since the model's speed changed" in learned.describe_basis("transform")
    assert not rate(nights(*before, 1.0, 9.0)).is_changed
    assert rate(nights(*before, 9.0, 9.1)).bytes_per_second == pytest.approx(9e6, rel=0.02)


def test_the_spread_outlives_a_change_of_speed() -> None:
    noise = Random(1)
    speeds = [3 * math.exp(noise.gauss(0, 0.15)) for _ in range(12)]
    known, alone = rate(nights(*speeds, 0.5, 0.5)), rate(nights(0.5, 0.5))
    assert known.runs == alone.runs == 2
    assert known.spread > alone.spread


def test_a_type_without_runs_is_scaled_by_what_others_measured_of_their_default() -> None:
    """A model at a twentieth of the assumed speed is that slow on twice the vCPUs too."""
    learned = rate(nights(*[0.1] * 7), instance_type="ml.c5.2xlarge")
    assert learned.bytes_per_second == pytest.approx(0.2e6, rel=0.02)
    assert learned.runs == 0
    assert learned.spread > rate([]).spread
    assert learned.describe_basis("transform").startswith("transform scaled from ml.m5.xlarge to 0.197 MB/s")


def test_other_stages_and_models_do_not_count() -> None:
    others = [*nights(50, stage="preprocess"), *nights(50, model="other")]
    assert rate(others).scaled_from is None
    assert rate(others).runs == 0
    assert rate(others, stage="preprocess", model_key="whatever").bytes_per_second == pytest.approx(50e6)


def test_rows_that_say_nothing_of_the_rate_are_left_out() -> None:
    for silent in (row(bytes=0), row(busy_seconds=None, start_seconds=None, running_seconds=0.0)):
        assert rate([silent]).runs == 0
    # Without busy time the time after start-up counts: (340 - 90) s on two instances.
    assert rate([row(busy_seconds=None)]).bytes_per_second == pytest.approx(2e6)


@pytest.mark.parametrize("unknown", [{"busy_seconds": None, "start_seconds": None}, {"busy_seconds": 0.0}])
def test_a_server_that_logs_no_requests_is_learned_from_by_all_of_its_running_time(
    unknown: dict[str, Any],
) -> None:
    """Slower than it is, and the plan says so; a start-up is allowed for on top. 1 GB in 340 s on two instances."""
    learned = rate([row(**unknown)])
    assert learned.bytes_per_second == pytest.approx(1e9 / 680)
    assert (learned.start_seconds, learned.runs) == (90.0, 1)
    assert "the last run, start-up included, as nothing logged when work began" in learned.describe_basis(
        "transform"
    )


def test_runs_that_logged_their_requests_go_before_later_ones_that_did_not() -> None:
    """One night without the right to read logs changes nothing."""
    blind = row(data_time="2026-02-01", busy_seconds=None, start_seconds=None)
    learned = rate([*nights(3, 3, 3), blind])
    assert learned.bytes_per_second == pytest.approx(3e6)
    assert learned.runs == 3
    assert "start-up included" not in learned.describe_basis("transform")


def test_the_error_of_the_last_plan_is_stated() -> None:
    learned = rate(
        [*nights(2, 2, 2), row(data_time="2026-02-01", running_seconds=400.0, predicted_seconds=320.0)]
    )
    assert learned.last_prediction_error == pytest.approx(0.25)
    assert learned.describe_basis("transform").endswith("the last 4 runs; the last plan was off by +25%")


def test_what_runs_do_not_tell_is_no_more_uncertain_than_what_is_assumed() -> None:
    """Nights that vary widely and look alike say nothing of their split: it stays within the spread of the default."""
    wild = [
        row(data_time=f"2026-01-{day:02d}", bytes=750 * MB, objects=250_000, busy_seconds=seconds)
        for day, seconds in enumerate((3e4, 9e4, 2e4, 8e4, 3e4, 1e5), 1)
    ]
    learned = rate(wild)
    assert 0.5 < learned.spread < 1.2
    assert learned.compute_spread(750 * MB, 100) < math.hypot(learned.spread * 1.5, 1.6)
