"""What the jobs of a run were billed: asked of AWS when the run ends, so that no kill, retry or clear hides a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import CostPaths, build_name_prefix, build_name_token, parse_job_name
from batch_inference.dag.templates import build_cleanup_tags
from batch_inference.pricing.costs import Prices
from batch_inference.pricing.run_costs import JobCost, RunCost, RunEfficiency
from batch_inference.publishing.cost_records import list_unended_runs, read_record, write_run_cost
from sagemaker_jobs.cleanup.run_jobs import await_job_ends, list_run_jobs
from sagemaker_jobs.job.describe import Job, describe_job
from sagemaker_jobs.job.result import build_job_result
from sagemaker_jobs.kinds import KINDS

log = logging.getLogger(__name__)

#: How long jobs that were just stopped are awaited: AWS bills them until they end. What has not ended by then is
#: counted as far as it was billed, and counted again when the next run of the pipeline ends.
STOP_TIMEOUT_SECONDS = 120.0
STOP_POLL_SECONDS = 5.0


def list_job_costs(
    pipeline: str,
    prices: Prices,
    *,
    aws_conn_id: str | None,
    region: str | None,
    dag_id: str,
    run_id: str,
    started_at: datetime,
    nonce: str | None,
) -> list[JobCost]:
    """What each job of the run was billed, failed, stopped and repeated ones and trials included.

    They are found by the plan's token in their names and by the run in their tags, see `list_run_jobs`. Waits up to
    `STOP_TIMEOUT_SECONDS` for jobs that are being stopped.
    """
    hook = SageMakerHook(aws_conn_id=aws_conn_id, region_name=region)  # type: ignore[no-untyped-call]
    jobs = list_run_jobs(
        hook,
        name_prefix=build_name_prefix(pipeline),
        tags=build_cleanup_tags(dag_id, run_id),
        created_after=started_at,
        name_part=None if nonce is None else build_name_token(nonce),
    )
    ended = await_job_ends(hook, jobs, timeout_seconds=STOP_TIMEOUT_SECONDS, poll_seconds=STOP_POLL_SECONDS)
    return [build_job_cost(job, prices, now=time.time()) for job in ended]


def build_job_cost(job: Job, prices: Prices, *, now: float) -> JobCost:
    """What a job was billed, until `now` (epoch seconds) if it has not ended."""
    result: Mapping[str, Any] = build_job_result(job, frozenset())
    count, billed = result["instance_count"] or 1, result["billed_seconds"]
    if result["started_at"] is not None and result["ended_at"] is None:
        billed = max(0.0, now - result["started_at"]) * count
    name = parse_job_name(job.name)
    kind = str(result["instance_type"])
    return JobCost.model_validate(
        {
            **result,
            "stage": job.kind.name.lower() if name is None else name[0],
            "instance_type": kind,
            "instance_count": count,
            "billed_seconds": billed,
            "dollars": prices.compute_cost(kind, billed),
        }
    )


def record_run_costs(
    storage: Storage,
    paths: CostPaths,
    jobs: Iterable[JobCost],
    *,
    token: str | None,
    efficiency: RunEfficiency,
    records: int | None,
    **run: Any,
) -> list[RunCost]:
    """Store what a run cost, one record for each plan that it had; `run` has the other members of `RunCost`.

    `token` is that of the run's plan, to which outcome, `records` and `efficiency` belong; the jobs of an earlier plan
    of the run keep what their own record says.
    """
    by_token: dict[str, list[JobCost]] = {}
    for job in jobs:
        name = parse_job_name(job.job_name)
        if name is not None:
            by_token.setdefault(name[1], []).append(job)
    written: list[RunCost] = []
    for each, own in by_token.items():
        cost = RunCost(token=each, jobs=tuple(own), efficiency=efficiency, records=records, **run)
        if each != token:
            cost = _keep_earlier_outcome(storage, paths, cost)
        written.append(write_run_cost(storage, paths, cost))
    return written


def _keep_earlier_outcome(storage: Storage, paths: CostPaths, cost: RunCost) -> RunCost:
    for month in cost.months:
        if (earlier := read_record(storage, paths.build_record_uri(month, cost.token))) is not None:
            return earlier.model_copy(update={"jobs": cost.jobs})
    return cost.model_copy(update={"outcome": "failed", "records": None, "efficiency": RunEfficiency()})


def count_unended_jobs(
    storage: Storage,
    paths: CostPaths,
    prices: Prices,
    months: Iterable[str],
    *,
    aws_conn_id: str | None,
    region: str | None,
) -> None:
    """Count again the runs of these months with a job that had not ended when it was counted."""
    hook: SageMakerHook | None = None
    for cost in list_unended_runs(storage, paths, months):
        hook = hook or SageMakerHook(aws_conn_id=aws_conn_id, region_name=region)  # type: ignore[no-untyped-call]
        jobs: list[JobCost] = []
        for each in cost.jobs:
            found = None if each.ended_at is not None else describe_job(hook, KINDS[each.kind], each.job_name)
            jobs.append(each if found is None else build_job_cost(found, prices, now=time.time()))
        write_run_cost(storage, paths, cost.model_copy(update={"jobs": tuple(jobs)}))
