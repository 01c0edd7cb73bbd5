"""Rates are learned from the last runs, robustly, and a plan says what its rate rests on."""

from __future__ import annotations

from typing import Any

import pytest

from batch_inference.planning.clusters.rate_history import HistoryRow, build_history_rows, compute_rate
from tests.unit.reporting.test_report import report


def row(**changes: Any) -> HistoryRow:
    known: dict[str, Any] = {
        "pipeline": "churn", "run_id": "r", "data_time": "2026-01-01", "stage": "transform",
        "instance_type": "ml.m5.xlarge", "instance_count": 2, "model": "churn-model", "bytes": 1_000_000_000,
        "records": 1000, "objects": 20, "provisioning_seconds": 240.0, "running_seconds": 340.0, "busy_seconds": 500.0,
        "start_seconds": 90.0, "predicted_seconds": 320.0, "dollars": 0.05,
    }  # fmt: skip
    return HistoryRow.model_validate({**known, **changes})


def nights(*rates: float, **changes: Any) -> list[HistoryRow]:
    """Runs of one night each, at these megabytes per second."""
    return [
        row(data_time=f"2026-01-{day + 1:02d}", bytes=int(rate * 1e6 * 100), busy_seconds=100.0, **changes)
        for day, rate in enumerate(rates)
    ]


def rate(history: list[HistoryRow], **changes: Any) -> Any:
    known: dict[str, Any] = {
        "stage": "transform",
        "instance_type": "ml.m5.xlarge",
        "model_key": "churn-model",
    }
    return compute_rate(history, **{**known, **changes})


def test_without_runs_a_stated_default_applies_scaled_by_the_type() -> None:
    assert (rate([]).bytes_per_second, rate([]).margin, rate([]).runs) == (2e6, 0.3, 0)
    assert rate([], instance_type="ml.m5.2xlarge").bytes_per_second == 4e6
    assert rate([], stage="preprocess").bytes_per_second == 20e6
    assert rate([]).describe_basis("transform") == (
        "transform assumed at 2 MB/s per instance ± 30%, as no run has been measured yet"
    )


def test_a_rate_is_the_median_of_the_last_seven_runs() -> None:
    learned = rate(nights(100, 100, 1, 2, 3, 4, 5, 6, 7))
    assert (learned.bytes_per_second, learned.runs) == (4e6, 7)


def test_a_new_version_is_taken_to_be_as_fast_as_those_before_it_until_it_has_run() -> None:
    """Only those of its own group, and the plan says so."""
    older = nights(3, 3, 3, model="churn/6")
    learned = rate([*older, *nights(9, model="other/6")], model_key="churn/7")
    assert (learned.bytes_per_second, learned.runs) == (3e6, 3)
    assert "the median of the last 3 runs of other versions of the model" in learned.describe_basis(
        "transform"
    )
    assert rate([*older, *nights(5, model="churn/7")], model_key="churn/7").bytes_per_second == 5e6
    assert rate(older, model_key="churn").runs == 0


def test_one_odd_night_moves_neither_rate_nor_margin_much() -> None:
    steady, odd = rate(nights(3, 3, 3, 3, 3)), rate(nights(3, 3, 3, 0.1, 3))
    assert odd.bytes_per_second == steady.bytes_per_second == 3e6
    assert (steady.margin, odd.margin) == (0.05, 0.05)


def test_runs_that_disagree_widen_the_margin() -> None:
    # Deviations from the median 3 are 1, 0.5, 0, 0.5, 1: their median is 0.5.
    assert rate(nights(2, 2.5, 3, 3.5, 4)).margin == pytest.approx(2 * 1.4826 * 0.5 / 3)
    assert rate(nights(1, 2, 3, 9, 30)).margin == 0.6


def test_two_runs_are_too_few_to_narrow_the_margin() -> None:
    assert rate(nights(3, 3)).margin == 0.3


def test_other_stages_types_and_models_do_not_count() -> None:
    others = [
        *nights(50, stage="preprocess"), *nights(50, instance_type="ml.m5.2xlarge"), *nights(50, model="other"),
    ]  # fmt: skip
    assert rate(others).runs == 0
    assert rate(others, stage="preprocess", model_key="whatever").bytes_per_second == 50e6


def test_rows_that_say_nothing_of_the_rate_are_left_out() -> None:
    for silent in (row(bytes=0), row(busy_seconds=None, start_seconds=None, running_seconds=0.0)):
        assert silent.bytes_per_second is None
        assert rate([silent]).runs == 0
    # Without busy time the time after start-up counts: (340 - 90) s on two instances.
    assert row(busy_seconds=None).bytes_per_second == 2e6


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
    assert (learned.bytes_per_second, learned.runs) == (3e6, 3)
    assert "start-up included" not in learned.describe_basis("transform")


def test_the_error_of_the_last_plan_is_stated() -> None:
    learned = rate(
        [*nights(2, 2, 2), row(data_time="2026-02-01", running_seconds=400.0, predicted_seconds=320.0)]
    )
    assert learned.last_prediction_error == pytest.approx(0.25)
    assert learned.describe_basis("transform") == (
        "transform measured at 2 MB/s per instance ± 5%, the median of the last 4 runs; the last plan was off by +25%"
    )


def test_a_report_gives_the_rows_that_the_next_plan_reads() -> None:
    rows = build_history_rows(report())
    assert [
        (
            each.stage,
            each.instance_count,
            each.bytes,
            each.records,
            each.objects,
            each.busy_seconds,
            each.start_seconds,
        )
        for each in rows
    ] == [("preprocess", 2, 40_000_000, 68, 2, 150.0, None), ("transform", 2, 40_000_000, 60, 3, 60.0, 20.0)]
    assert HistoryRow.model_validate(rows[0].model_dump()) == rows[0]
    settings = [(each.max_concurrent_transforms, each.max_payload_mb, each.batch_strategy) for each in rows]
    assert settings == [(None, None, None), (4, 6, "MultiRecord")]
    learned = compute_rate(rows, stage="transform", instance_type="ml.m5.xlarge", model_key="churn-model")
    assert learned.bytes_per_second == pytest.approx(40e6 / 60)
    assert learned.start_seconds == 20.0


def test_a_stage_that_ran_on_several_types_teaches_the_rate_of_none() -> None:
    figures = report()
    figures["stages"][1]["billed_by_type"] = {"ml.m5.xlarge": 30.0, "ml.m5.2xlarge": 30.0}
    assert [row.stage for row in build_history_rows(figures)] == ["preprocess"]
