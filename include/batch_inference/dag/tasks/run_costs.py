"""What the jobs of a run were billed: asked of AWS when the run ends, so that no kill, retry or clear hides a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError
from pydantic import ValidationError

from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.errors import HandoffError
from batch_inference.common.names import (
    CostPaths,
    RunPaths,
    build_name_prefix,
    build_name_token,
    parse_job_name,
    slugify_run_id,
)
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.templates import build_cleanup_tags
from batch_inference.planning.plan import PIPELINE_KEY, Plan
from batch_inference.pricing.costs import Prices, load_prices, sum_if_known
from batch_inference.pricing.run_costs import (
    CostSums,
    JobCost,
    RunCost,
    RunEfficiency,
    measure_efficiency,
)
from batch_inference.publishing.cost_records import (
    list_unended_runs,
    read_record,
    sum_run,
    write_run_cost,
)
from batch_inference.run.outcomes import RunOutcome
from sagemaker_jobs.cleanup.run_jobs import await_job_ends, list_run_jobs
from sagemaker_jobs.job.describe import Job, describe_job
from sagemaker_jobs.job.result import build_job_result
from sagemaker_jobs.kinds import KINDS, TRANSFORM

log = logging.getLogger(__name__)

#: How long jobs that were just stopped are awaited: AWS bills them until they end. What has not ended by then is
#: counted as far as it was billed, and counted again when the next run of the pipeline ends.
STOP_TIMEOUT_SECONDS = 120.0
STOP_POLL_SECONDS = 5.0


def record_run_costs(
    outcome: RunOutcome,
    pipeline: str,
    plan: Plan | None,
    *,
    aws_conn_id: str | None,
    region: str | None,
    runs_prefix: str,
    dag_id: str,
    dag_run: Any,
    preprocess_busy_seconds: float | None = None,
) -> RunOutcome:
    """Store what the jobs of a run cost, and count them in the sums of their months; the outcome with these figures.

    All of its jobs count: failed, stopped and repeated ones, and trials. A run without a job costs nothing, and has no
    record. `preprocess_busy_seconds` is what preprocess measured of itself, None when it is unknown.
    """
    hook = SageMakerHook(aws_conn_id=aws_conn_id, region_name=region)  # type: ignore[no-untyped-call]
    jobs = list_ended_jobs(hook, pipeline, dag_id, dag_run, None if plan is None else plan.nonce)
    storage, paths = Storage(aws_conn_id, region), CostPaths(runs_prefix)
    months = set(list_recent_months(datetime.now(UTC)))
    if not jobs:
        prices = load_prices() if plan is None else plan.get_prices()
        try_count_unended_jobs(hook, storage, paths, prices, months, except_for=())
        earlier = try_sum_earlier_plans(storage, paths, months, dag_run.run_id, except_for=())
        return outcome.model_copy(
            update={
                "dollars": add_earlier_dollars(0.0, earlier),
                "billed_seconds": earlier.billed_seconds,
                "idle_seconds": earlier.idle_seconds,
            }
        )
    run_prefix = f"{runs_prefix}{slugify_run_id(dag_run.run_id)}/" if plan is None else plan.run_prefix
    stored = read_stored_plan(storage, run_prefix)
    known = plan if plan is not None or stored is None else stored[0]
    prices = load_prices() if known is None else known.get_prices()
    costs = [build_job_cost(job, prices, now=time.time()) for job in jobs]
    token = None if plan is None else build_name_token(plan.nonce)
    if outcome.report_json is not None:
        report = storage.read_json(outcome.report_json)
        idle_seconds = report["total"]["idle_seconds"]
        efficiency = measure_efficiency(report, prices, seconds_to_spare=_get_seconds_to_spare(plan))
    else:
        own = [cost for cost in costs if get_token(cost) == token]
        efficiency = measure_idle(own, aws_conn_id, region, preprocess_busy_seconds=preprocess_busy_seconds)
        others = [cost for cost in costs if get_token(cost) != token]
        before = measure_idle(others, aws_conn_id, region, preprocess_busy_seconds=None)
        is_measured = efficiency.measured_seconds or before.measured_seconds
        idle_seconds = efficiency.idle_seconds + before.idle_seconds if is_measured else None
    records = outcome.records or {}
    written = write_by_plan(
        storage,
        paths,
        costs,
        token=token,
        efficiency=efficiency,
        records=records.get("scored") if outcome.kind == "published" else None,
        pipeline=pipeline,
        run_id=dag_run.run_id,
        outcome=outcome.kind,
        is_scheduled=dag_run.run_type == "scheduled",
        started_at=dag_run.start_date.timestamp(),
        ended_at=time.time(),
        tags={} if stored is None else stored[1].tags,
    )
    months |= {month for cost in written for month in cost.months}
    tokens = {cost.token for cost in written}
    try_count_unended_jobs(hook, storage, paths, prices, months, except_for=tokens)
    # After a clear of the whole run, those of its earlier plans are older than its start, and are not found.
    earlier = try_sum_earlier_plans(storage, paths, months, dag_run.run_id, except_for=tokens)
    starts = [cost.started_at for cost in costs if cost.started_at is not None]
    ends = [cost.ended_at for cost in costs if cost.ended_at is not None]
    seconds = max(ends) - min(starts) if starts and ends else None
    return outcome.model_copy(
        update={
            "dollars": add_earlier_dollars(sum_if_known(cost.dollars for cost in written), earlier),
            "billed_seconds": sum(cost.billed_seconds for cost in written) + earlier.billed_seconds,
            "idle_seconds": idle_seconds,
            "seconds": seconds if outcome.seconds is None else outcome.seconds,
        }
    )


def list_recent_months(now: datetime) -> list[str]:
    """This month and the one before it, such as `2026-11`, by days of UTC."""
    return [f"{now.replace(day=1) - timedelta(days=1):%Y-%m}", f"{now:%Y-%m}"]


def get_token(cost: JobCost) -> str | None:
    """The part of a job's name that only the jobs of one plan have; None for a name that was not built here."""
    name = parse_job_name(cost.job_name)
    return None if name is None else name[1]


def add_earlier_dollars(dollars: float | None, earlier: CostSums) -> float | None:
    """The dollars with those of earlier plans; None when a price is unknown."""
    return None if dollars is None or earlier.unpriced_seconds else dollars + earlier.dollars


def try_sum_earlier_plans(*args: Any, **kwargs: Any) -> CostSums:
    """See `sum_run`; nothing where it fails, which is logged: it must not hide what this plan cost."""
    try:
        return sum_run(*args, **kwargs)
    except Exception:
        log.exception("what earlier plans of this run cost is not counted; clear this task to count it")
        return CostSums()


def list_ended_jobs(
    hook: SageMakerHook, pipeline: str, dag_id: str, dag_run: Any, nonce: str | None
) -> list[Job]:
    """The jobs of the run, found by the plan's token in their names and by the run in their tags, see `list_run_jobs`.

    Waits up to `STOP_TIMEOUT_SECONDS` for those that are being stopped.
    """
    started_at: datetime = dag_run.start_date
    jobs = list_run_jobs(
        hook,
        name_prefix=build_name_prefix(pipeline),
        tags=build_cleanup_tags(dag_id, dag_run.run_id),
        created_after=started_at,
        name_part=None if nonce is None else build_name_token(nonce),
    )
    return await_job_ends(hook, jobs, timeout_seconds=STOP_TIMEOUT_SECONDS, poll_seconds=STOP_POLL_SECONDS)


def build_job_cost(job: Job, prices: Prices, *, now: float) -> JobCost:
    """What a job was billed, until `now` (epoch seconds) if it has not ended."""
    result: Mapping[str, Any] = build_job_result(job, frozenset())
    count, billed = result["instance_count"] or 1, result["billed_seconds"]
    if result["started_at"] is not None and result["ended_at"] is None:
        billed = max(0.0, now - result["started_at"]) * count
    name = parse_job_name(job.name)
    instance_type = str(result["instance_type"])
    return JobCost.model_validate(
        {
            **result,
            "stage": job.kind.name.lower() if name is None else name[0],
            "instance_type": instance_type,
            "instance_count": count,
            "billed_seconds": billed,
            "dollars": prices.compute_cost(instance_type, billed),
        }
    )


def read_stored_plan(storage: Storage, run_prefix: str) -> tuple[Plan, Pipeline] | None:
    """The last plan of the run and its pipeline; None when there is no plan.json, or one of another version."""
    uri = RunPaths(run_prefix).plan
    try:
        document = storage.read_json(uri)
        return Plan.from_document(document, uri), Pipeline.model_validate(document[PIPELINE_KEY])
    except (ClientError, HandoffError, KeyError, ValidationError) as error:
        if isinstance(error, ClientError) and not is_not_found(error):
            raise
        log.warning("the run's costs have no tags, and prices of the table only: %s", error)
        return None


def measure_idle(
    costs: Iterable[JobCost],
    aws_conn_id: str | None,
    region: str | None,
    *,
    preprocess_busy_seconds: float | None,
) -> RunEfficiency:
    """The idle time of a run that published nothing, of those jobs whose work is known.

    Its dollars are not counted as idle: all that such a run cost bought nothing.
    """
    measured = idle = 0.0
    for cost in costs:
        busy = None
        if cost.kind == TRANSFORM.name and cost.billed_seconds:
            found = read_instance_activity(
                aws_conn_id, region, {"kind": cost.kind, "job_name": cost.job_name}
            )
            busy = found["busy_seconds"]
        elif cost.stage == "preprocess" and cost.status == "Completed":
            busy = preprocess_busy_seconds
        if busy is not None:
            measured += cost.billed_seconds
            idle += max(0.0, cost.billed_seconds - busy)
    return RunEfficiency(measured_seconds=measured, idle_seconds=idle)


def write_by_plan(
    storage: Storage,
    paths: CostPaths,
    jobs: Iterable[JobCost],
    *,
    token: str | None,
    efficiency: RunEfficiency,
    records: int | None,
    **run: Any,
) -> list[RunCost]:
    """Write one record for each plan that the run had; `run` has the other members of `RunCost`.

    `token` is that of the run's plan, to which outcome, `records` and `efficiency` belong; the jobs of an earlier plan
    of the run keep what their own record says.
    """
    by_token: dict[str, list[JobCost]] = {}
    for job in jobs:
        found = get_token(job)
        if found is not None:
            by_token.setdefault(found, []).append(job)
    written: list[RunCost] = []
    for each, own in by_token.items():
        cost = RunCost(token=each, jobs=tuple(own), efficiency=efficiency, records=records, **run)
        if each != token:
            cost = _keep_earlier_outcome(storage, paths, cost)
        written.append(write_run_cost(storage, paths, cost))
    return written


def _keep_earlier_outcome(storage: Storage, paths: CostPaths, cost: RunCost) -> RunCost:
    for month in sorted({*cost.months, *cost.creation_months}):
        if (earlier := read_record(storage, paths.build_record_uri(month, cost.token))) is not None:
            return earlier.model_copy(update={"jobs": cost.jobs})
    return cost.model_copy(update={"outcome": "failed", "records": None, "efficiency": RunEfficiency()})


def try_count_unended_jobs(*args: Any, **kwargs: Any) -> None:
    """See `count_unended_jobs`; an error is logged, since it is of other runs than this one."""
    try:
        count_unended_jobs(*args, **kwargs)
    except Exception:
        log.exception("earlier runs are not counted again; the next run tries it again")


def count_unended_jobs(
    hook: SageMakerHook,
    storage: Storage,
    paths: CostPaths,
    prices: Prices,
    months: Iterable[str],
    *,
    except_for: Iterable[str],
) -> None:
    """Count again the earlier runs of these months with a job that had not ended when it was counted.

    A job keeps the price per second of its record: `prices` are of another run, and used where it had none.
    """
    for cost in list_unended_runs(storage, paths, months):
        if cost.token in set(except_for):
            continue
        jobs: list[JobCost] = []
        for each in cost.jobs:
            found = None if each.ended_at is not None else describe_job(hook, KINDS[each.kind], each.job_name)
            jobs.append(each if found is None else count_again(each, found, prices))
        write_run_cost(storage, paths, cost.model_copy(update={"jobs": tuple(jobs)}))


def count_again(before: JobCost, job: Job, prices: Prices) -> JobCost:
    """What a job was billed since it was counted, by the price per second of that time where it had one."""
    cost = build_job_cost(job, prices, now=time.time())
    if before.dollars is None or not before.billed_seconds:
        return cost
    rate = before.dollars / before.billed_seconds
    return cost.model_copy(update={"dollars": rate * cost.billed_seconds})


def _get_seconds_to_spare(plan: Plan | None) -> float | None:
    if plan is None or plan.deadline is None:
        return None
    return plan.deadline.timestamp() - time.time()
