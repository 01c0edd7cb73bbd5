"""What runs cost in S3: one record for each run, and months that concurrent runs share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths, build_history_prefix, build_runs_prefix
from batch_inference.pricing.run_costs import CostMonth, add_up
from batch_inference.publishing import cost_records
from batch_inference.publishing.cost_records import (
    CostMonthConflictError,
    list_unended_runs,
    rebuild_month,
    write_run_cost,
)
from batch_inference.publishing.measured_rates import add_run_to_rate_history, read_rate_history
from tests.unit.builders import pipeline
from tests.unit.planning.test_rate_history import row
from tests.unit.pricing.test_run_costs import NIGHT, job, run


def open_paths(name: str) -> CostPaths:
    return CostPaths(build_runs_prefix(work="s3://bucket/costs", pipeline=name))


def read_dollars(storage: Storage, paths: CostPaths, month: str = "2026-11") -> float:
    found = CostMonth.from_document(storage.read_json(paths.build_month_uri(month)))
    assert found is not None
    return add_up(day.sums for day in found.days).dollars


def test_a_run_is_counted_once_however_often_it_is_written(storage: Storage) -> None:
    """A retried or cleared `clean_up`."""
    paths = open_paths("once")
    for _ in range(2):
        write_run_cost(storage, paths, run("t1"))
    write_run_cost(storage, paths, run("t2"))
    assert read_dollars(storage, paths) == pytest.approx(0.72)


def test_runs_that_end_at_the_same_time_are_all_counted(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month is changed by conditional PUTs."""
    monkeypatch.setattr(cost_records, "MAX_PAUSE_SECONDS", 0.1)
    paths = open_paths("together")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda at: write_run_cost(storage, paths, run(f"t{at}")), range(6)))
    assert read_dollars(storage, paths) == pytest.approx(6 * 0.36)


def test_a_writer_that_is_always_overtaken_says_how_to_count_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is stored before."""
    monkeypatch.setattr(cost_records, "MAX_PAUSE_SECONDS", 0.0)
    paths = open_paths("overtaken")
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write_conditionally", lambda *_, **__: None)
        with pytest.raises(CostMonthConflictError, match="costs --rebuild"):
            write_run_cost(storage, paths, run("t1"))
    rebuild_month(storage, paths, "overtaken", "2026-11")
    assert read_dollars(storage, paths) == pytest.approx(0.36)


def test_a_month_that_is_gone_or_of_another_version_is_built_of_the_records(storage: Storage) -> None:
    """By the next run that ends."""
    paths = open_paths("gone")
    write_run_cost(storage, paths, run("t1"))
    storage.delete([paths.build_month_uri("2026-11")])
    write_run_cost(storage, paths, run("t2"))
    assert read_dollars(storage, paths) == pytest.approx(0.72)
    storage.write_json(paths.build_month_uri("2026-11"), {"version": 0})
    write_run_cost(storage, paths, run("t3"))
    assert read_dollars(storage, paths) == pytest.approx(1.08)


def test_a_run_over_the_end_of_a_month_is_in_both(storage: Storage) -> None:
    """And both can be built again."""
    paths = open_paths("midnight")
    write_run_cost(storage, paths, run("t1", job("a"), job("b", start=NIGHT + 7200)))
    for month in ("2026-11", "2026-12"):
        assert read_dollars(storage, paths, month) == pytest.approx(0.36)
        rebuild_month(storage, paths, "midnight", month)
        assert read_dollars(storage, paths, month) == pytest.approx(0.36)


def test_runs_with_a_job_that_had_not_ended_are_found(storage: Storage) -> None:
    """Months without a document have none."""
    paths = open_paths("unended")
    write_run_cost(storage, paths, run("t1"))
    write_run_cost(storage, paths, run("t2", job(ended_at=None)))
    assert [cost.token for cost in list_unended_runs(storage, paths, ["2026-10", "2026-11"])] == ["t2"]


def test_what_runs_cost_is_no_rate(storage: Storage) -> None:
    """Rates lie beside the records of costs, which are of failed runs as well."""
    of = pipeline({"name": "rates", "work": "s3://bucket/costs"})
    add_run_to_rate_history(storage, of, "a" * 16, [row()])
    write_run_cost(storage, open_paths("rates"), run("t1", outcome="failed"))
    prefix = build_history_prefix(work=of.work, pipeline=of.name)
    assert len(storage.list_uris(prefix)) == 2
    assert read_rate_history(storage, of) == [row()]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 1}', '{"version": 1, "runs": "?"}'])
def test_a_damaged_month_is_built_again(storage: Storage, content: str) -> None:
    """By the next run that ends, and by hand."""
    paths = open_paths(f"damaged-{len(content)}")
    write_run_cost(storage, paths, run("t1"))
    for write in (
        lambda: write_run_cost(storage, paths, run("t1")),
        lambda: rebuild_month(storage, paths, "churn", "2026-11"),
    ):
        storage.write(paths.build_month_uri("2026-11"), content)
        assert list_unended_runs(storage, paths, ["2026-11"]) == []
        write()
        assert read_dollars(storage, paths) == pytest.approx(0.36)


def test_a_job_that_started_in_the_next_month_counts_there_alone(storage: Storage) -> None:
    """It was counted in the month of its creation while it waited for instances."""
    paths = open_paths("waiting")
    write_run_cost(storage, paths, run("t1", job(start=None)))
    assert read_dollars(storage, paths) == pytest.approx(0.36)
    write_run_cost(storage, paths, run("t1", job(start=NIGHT + 7200)))
    assert (read_dollars(storage, paths), read_dollars(storage, paths, "2026-12")) == (0, pytest.approx(0.36))
    rebuild_month(storage, paths, "waiting", "2026-11")
    assert read_dollars(storage, paths) == 0
