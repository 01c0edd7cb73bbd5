"""Months of runs with costs, as `clean_up` would have stored them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths, build_runs_prefix
from batch_inference.pricing.run_costs import JobCost, RunCost, RunEfficiency, build_month


def build_run(
    dag_id: str,
    number: int,
    start: datetime,
    *,
    tags: Mapping[str, str],
    outcome: str = "published",
    dollars: float | None = 0.5,
    instance_type: str = "ml.m5.xlarge",
) -> RunCost:
    """A run of two jobs, of which the second one cost `dollars`; a published one had idle instances."""
    began = start.timestamp()
    jobs = [
        JobCost(
            job_name=f"{dag_id}-{number}-{at}", kind="Transform", stage="transform", status="Completed",
            instance_type=name, instance_count=2, created_at=began, started_at=began, ended_at=began + 600,
            billed_seconds=1200.0, dollars=cost,
        )
        for at, (name, cost) in enumerate((("ml.m5.xlarge", 0.25), (instance_type, dollars)))
    ]  # fmt: skip
    is_published = outcome == "published"
    return RunCost(
        pipeline=dag_id, run_id=f"run-{number}", token=f"{number:012x}", outcome=outcome, is_scheduled=True,
        started_at=began, ended_at=began + 700, tags=dict(tags), records=10_000 if is_published else None,
        efficiency=RunEfficiency(
            measured_seconds=2400.0, idle_seconds=900.0, idle_dollars=0.28, start_dollars=0.1,
            one_instance_dollars=0.2, one_instance_delay=300.0,
        ) if is_published else RunEfficiency(),
        jobs=tuple(jobs),
    )  # fmt: skip


def write_months(storage: Storage, dag_id: str, costs: list[RunCost]) -> None:
    """The months of these runs, without their records."""
    paths = CostPaths(build_runs_prefix(work="s3://bucket/work", pipeline=dag_id))
    for month in sorted({month for cost in costs for month in cost.months}):
        document = build_month(dag_id, month, [cost for cost in costs if month in cost.months]).to_document()
        storage.write(paths.build_month_uri(month), json.dumps(document))


def add_costs(
    storage: Storage,
    dag_id: str,
    now: datetime,
    *,
    tags: Mapping[str, str],
    nights: int = 70,
    per_day: int = 1,
) -> list[RunCost]:
    """Runs until `now`, of which each ninth failed; gives them."""
    first = now.astimezone(UTC) - timedelta(days=nights)
    costs = [
        build_run(
            dag_id, number, first + timedelta(days=number / per_day), tags=tags,
            outcome="failed" if number % 9 == 8 else "published", dollars=0.3 + number % 5 * 0.1,
        )
        for number in range(nights * per_day)
    ]  # fmt: skip
    write_months(storage, dag_id, costs)
    return costs
