"""What a run cost beside other runs: those that are counted again, and earlier plans of the same run."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths
from batch_inference.dag.tasks import run_costs
from batch_inference.dag.tasks.run_costs import list_recent_months, record_run_costs
from batch_inference.pricing.run_costs import CostMonth, JobCost, RunCost, add_up
from batch_inference.publishing.cost_records import read_record, write_run_cost
from batch_inference.run.outcomes import RunOutcome
from tests.unit.builders import plan
from tests.unit.pricing.test_run_costs import job, run

#: An hour of this month, which is one of the last two even if it ends amid the tests.
NOW = datetime.now(UTC).replace(day=1, hour=12).timestamp()
MONTH = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m}"


def job_now(token: str, **changes: Any) -> JobCost:
    """An hour for 36 cents, of this month."""
    name = f"churn--transform-{token}-12345678-1"
    return job(name, start=NOW, created_at=NOW, **changes)


class Ending:
    """`clean_up` of the run `r1`, whose jobs AWS no longer lists."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.storage, self.paths = storage, CostPaths(f"s3://bucket/ending/{name}/")
        self.described: list[str] = []
        monkeypatch.setattr(run_costs, "list_ended_jobs", lambda *_: [])
        monkeypatch.setattr(run_costs, "describe_job", self.describe)
        monkeypatch.setattr(run_costs, "build_job_cost", lambda *_, **__: self.ended)
        self.ended = job_now("t1", billed_seconds=7200.0, dollars=5.0)

    def describe(self, _: Any, __: Any, name: str) -> Any:
        """It is there."""
        self.described.append(name)
        return SimpleNamespace(name=name)

    def write(self, cost: RunCost) -> None:
        """A record of before."""
        write_run_cost(self.storage, self.paths, cost)

    def record(self) -> RunOutcome:
        """What `clean_up` does with a run that failed in its plan."""
        return record_run_costs(
            RunOutcome(kind="failed", headline="it broke"), "churn", None, aws_conn_id="aws_test", region=None,
            runs_prefix=self.paths.root, dag_id="churn", dag_run=SimpleNamespace(run_id="r1"),
        )  # fmt: skip

    @property
    def dollars(self) -> float:
        """Of this month."""
        found = CostMonth.from_document(self.storage.read_json(self.paths.build_month_uri(MONTH)))
        assert found is not None
        return add_up(day.sums for day in found.days).dollars


def test_this_month_and_the_one_before() -> None:
    """Over the end of a year too."""
    assert list_recent_months(datetime(2026, 1, 31, tzinfo=UTC)) == ["2025-12", "2026-01"]


def test_a_run_without_a_job_counts_earlier_runs_again_at_their_own_price(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price of this run is another one."""
    ending = Ending(storage, monkeypatch, "again")
    ending.write(run("t1", job_now("t1", ended_at=None)))
    assert ending.record().dollars == 0
    assert len(ending.described) == 1
    assert ending.dollars == pytest.approx(0.72)


def test_other_runs_that_cannot_be_counted_do_not_hide_what_this_one_cost(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier plan of this run, whose jobs are older than its start since all was cleared."""
    ending = Ending(storage, monkeypatch, "hidden")
    ending.write(run("t1", job_now("t1", ended_at=None)))
    ending.write(run("t2", job_now("t2"), run_id="r1"))

    def fail(*_: Any) -> Any:
        raise ConnectionError("no answer")

    monkeypatch.setattr(run_costs, "describe_job", fail)
    outcome = ending.record()
    assert (outcome.dollars, outcome.billed_seconds) == (pytest.approx(0.36), 3600)
    assert "earlier runs are not counted again" in caplog.text


def test_idle_time_is_stored_with_the_plan_whose_jobs_were_idle(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the outcome has that of all."""
    ending = Ending(storage, monkeypatch, "idle")
    of = plan().model_copy(update={"aws_conn_id": "aws_test", "run_prefix": "s3://bucket/ending/idle/r1/"})
    token = run_costs.build_name_token(of.nonce)
    other = run_costs.build_name_token("other")
    costs = iter([job_now(token), job_now(other)])
    monkeypatch.setattr(run_costs, "list_ended_jobs", lambda *_: [1, 2])
    monkeypatch.setattr(run_costs, "build_job_cost", lambda *_, **__: next(costs))
    monkeypatch.setattr(run_costs, "read_instance_activity", lambda *_: {"busy_seconds": 600.0})
    outcome = record_run_costs(
        RunOutcome(kind="failed", headline="it broke"), "churn", of, aws_conn_id="aws_test", region=None,
        runs_prefix=ending.paths.root, dag_id="churn",
        dag_run=SimpleNamespace(run_id="r1", run_type="manual", start_date=datetime.now(UTC)),
    )  # fmt: skip
    assert outcome.idle_seconds == 6000
    stored = read_record(storage, ending.paths.build_record_uri(MONTH, token))
    assert stored is not None
    assert stored.efficiency.idle_seconds == 3000
