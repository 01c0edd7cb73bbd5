"""Cost is billed seconds times a price with a source, and what is not known is never guessed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from batch_inference.common.errors import PipelineError
from batch_inference.config.yaml_loader import load_yaml_model
from batch_inference.pricing.costs import (
    Prices,
    StageUsage,
    compute_stage_cost,
    load_prices,
    merge_jobs,
    sum_if_known,
)

JOB = {
    "job_name": "p-transform-1", "instance_type": "ml.m5.xlarge", "instance_count": 3, "attempt": 2,
    "created_at": 1000.0, "started_at": 1200.0, "ended_at": 1320.0,
}  # fmt: skip


def test_an_instance_is_billed_from_start_to_end_and_not_while_it_is_provisioned() -> None:
    use = StageUsage.from_job("transform", JOB, busy_seconds=90.0)
    assert (use.provisioning_seconds, use.running_seconds, use.billed_seconds) == (200.0, 120.0, 360.0)
    assert (use.idle_seconds, use.attempt) == (270.0, 2)
    assert compute_stage_cost(use, load_prices()) == pytest.approx(0.23 / 3600 * 360)


def test_start_up_is_what_is_billed_before_the_first_request_and_never_imbalance() -> None:
    """One instance works for 20 s and one for 100 s; both begin 15 s after the start on average."""
    instances = [
        {"instance": "a", "from": 1210.0, "to": 1230.0},
        {"instance": "b", "from": 1220.0, "to": 1320.0},
    ]
    assert StageUsage.from_job("transform", JOB, busy_seconds=120.0).start_seconds is None
    assert StageUsage.from_job("transform", {**JOB, "instances": instances}).start_seconds == 15.0


def test_start_up_of_several_jobs_counts_from_the_start_of_each() -> None:
    jobs = [
        {**JOB, "status": "Completed", "instance_count": 1, "started_at": start,
         "instances": [{"instance": "a", "from": first, "to": 9e3}]}
        for start, first in ((1200.0, 1230.0), (2000.0, 2050.0))
    ]  # fmt: skip
    assert StageUsage.from_job("transform", merge_jobs(jobs)).start_seconds == 40.0
    assert (
        StageUsage.from_job("transform", merge_jobs([*jobs, JOB | {"status": "Completed"}])).start_seconds
        is None
    )


def test_figures_keep_what_is_unknown_as_none() -> None:
    figures = StageUsage.from_job("transform", {**JOB, "instance_type": "ml.c4.xlarge"}).build_figures(
        load_prices(), scored_count=10
    )
    assert (figures["busy_seconds"], figures["idle_seconds"], figures["idle_share"], figures["dollars"]) == (
        None,
    ) * 4
    assert figures["billed_seconds"] == 360.0


def test_a_job_that_never_started_costs_nothing() -> None:
    use = StageUsage.from_job("transform", {**JOB, "started_at": None})
    assert (use.billed_seconds, use.provisioning_seconds) == (0.0, 320.0)
    assert compute_stage_cost(use, load_prices()) == 0.0


def test_each_instance_type_has_its_own_price() -> None:
    """Of jobs that did a stage together, and of attempts before the one that completed: a hour on each of two types."""
    prices = load_prices()
    hour = {
        **JOB,
        "status": "Completed",
        "instance_count": 1,
        "started_at": 1200.0,
        "ended_at": 4800.0,
        "billed_seconds": 3600.0,
    }
    larger = {**hour, "job_name": "p-transform-2", "instance_type": "ml.m5.2xlarge"}
    both = 0.23 + 0.461
    assert compute_stage_cost(
        StageUsage.from_job("transform", merge_jobs([hour, larger])), prices
    ) == pytest.approx(both)
    assert compute_stage_cost(
        StageUsage.from_job("transform", {**larger, "earlier_attempts": [hour]}), prices
    ) == pytest.approx(both)
    unpriced = {**hour, "instance_type": "ml.c4.xlarge"}
    assert (
        compute_stage_cost(
            StageUsage.from_job("transform", {**larger, "earlier_attempts": [unpriced]}), prices
        )
        is None
    )
    never = {**unpriced, "billed_seconds": 0.0}
    assert compute_stage_cost(
        StageUsage.from_job("transform", {**larger, "earlier_attempts": [never]}), prices
    ) == pytest.approx(0.461)


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert sum_if_known([1.0, 2.5]) == 3.5
    assert sum_if_known([1.0, None]) is None
    assert sum_if_known([]) == 0


def test_the_table_is_dated_and_every_known_price_has_a_source() -> None:
    prices = load_prices()
    assert prices.as_of >= date(2023, 1, 1)
    assert prices.region == "us-east-1"
    for name, entry in prices.per_hour.items():
        assert (entry.price is None) == (entry.source is None), name
        assert entry.source is None or entry.source in prices.sources, name
    # Figures of the reference this table was made from.
    assert [prices.per_hour[name].price for name in ("ml.m5.xlarge", "ml.g5.xlarge", "ml.p4d.24xlarge")] == [
        0.23,
        1.4084,
        25.2513,
    ]
    assert prices.get_price_per_second("ml.c4.xlarge") is None
    assert prices.get_price_per_second("ml.unheard.xlarge") is None


def test_a_table_of_ones_own_is_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        "as_of: 2026-01-01\nregion: eu-west-1\nper_hour:\n  ml.m5.xlarge: { price: 0.257, source: bill }\n"
    )
    assert load_yaml_model(file, Prices).compute_cost("ml.m5.xlarge", 7200) == pytest.approx(0.514)
    file.write_text("as_of: 2026-01-01\nregion: eu-west-1\nper_hour:\n  ml.m5.xlarge: { price: -1 }\n")
    with pytest.raises(PipelineError) as caught:
        load_yaml_model(file, Prices)
    assert caught.value.problems == (
        "line 4, per_hour.ml.m5.xlarge.price: found -1; allowed is a number of at least 0",
    )


def test_prices_are_values() -> None:
    assert load_prices() == Prices.model_validate(load_prices().model_dump())
