"""Builds the live report of a run: the known figures in the form of `report.json`.

It is used while report.json is not written, or when it cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.pricing.costs import Prices, StageUsage, compute_stage_cost, merge_jobs, sum_if_known
from batch_inference.reporting.summary import TOTAL_FIGURES
from batch_inference.reporting.warnings import build_warnings
from batch_inference.verification.reconciliation import REFUSED_BY_MODEL

#: Fields of a plan, and of a job or merged jobs, that a page shows as they are.
_PLAN_FIELDS = ("pipeline", "run_id", "data_time", "dry_run", "empty", "input", "estimate")
_JOB_FIELDS = (
    "job_name", "status", "instance_type", "instance_count", "created_at", "started_at", "ended_at", "jobs",
)  # fmt: skip
#: Reason of rejects whose reasons are not known here.
REASON_UNKNOWN = "not known here"


def build_live_report(
    *,
    plan: Mapping[str, Any],
    jobs: Mapping[str, Sequence[Mapping[str, Any]]],
    shard_stats: Mapping[str, Any] | None,
    publish_result: Mapping[str, Any] | None = None,
    run_totals: Mapping[str, Any] | None = None,
    prices: Prices | None = None,
    reject_details: Mapping[str, Any] | None = None,
    as_of: float,
) -> dict[str, Any]:
    """The figures that a page shows of a run without its report; `as_of` is the current time in epoch seconds.

    `plan` is the plan as JSON; `jobs` maps a stage to its jobs, each in the form of a sensor's XCom, with None for
    times not reached; `shard_stats` is the XCom of `await_preprocess`, `publish_result` that of `publish`,
    `reject_details` the result of `collect_reject_details`, each None until it exists. `run_totals` are of a run that
    has ended: `seconds`, `billed_seconds`, `dollars`, and where they are known `idle_seconds` and `records`. Without
    `prices` no cost of a stage is known.
    """
    records = _records(shard_stats, publish_result, run_totals and run_totals.get("records"))
    report: dict[str, Any] = {
        **{key: plan[key] for key in _PLAN_FIELDS},
        "as_of": as_of,
        "records": records,
        "warnings": build_warnings(records),
        "reject_details": reject_details,
        "output": _output(plan, publish_result),
        "stages": [
            _stage(stage, stage_jobs, shard_stats, prices, as_of) for stage, stage_jobs in jobs.items()
        ],
        "sentences": [entry["text"] for entry in plan["log"]],
        "first_rows": [],
    }
    if run_totals is not None:
        report["total"] = {
            **{key: run_totals[key] for key in TOTAL_FIGURES},
            "idle_seconds": run_totals.get("idle_seconds"),
        }
    return report


def _output(plan: Mapping[str, Any], publish_result: Mapping[str, Any] | None) -> dict[str, Any]:
    if publish_result is None:
        return {"uri": plan["output_uri"], "rows": None, "files": None}
    return {
        "uri": publish_result["output_uri"],
        "rows": publish_result["rows"],
        "files": len(publish_result["files"]),
    }


def _records(
    shard_stats: Mapping[str, Any] | None,
    publish_result: Mapping[str, Any] | None,
    record_counts: Mapping[str, int] | None,
) -> dict[str, Any] | None:
    """The known record counts; None where nothing was counted yet."""
    reasons: dict[str, int] = {} if shard_stats is None else dict(shard_stats["rejected"])
    known = sum(reasons.values())
    if record_counts is not None:
        records_in, scored, rejected = record_counts["in"], record_counts["scored"], record_counts["rejected"]
    elif shard_stats is None:
        return None
    elif publish_result is None:
        records_in, scored, rejected = shard_stats["records_in"], None, known
    else:
        # `publish` commits nothing unless there is one row for each record that was scored.
        records_in, scored = shard_stats["records_in"], publish_result["rows"]
        rejected = records_in - scored
    if rejected > known:
        reason = REASON_UNKNOWN if shard_stats is None else REFUSED_BY_MODEL
        reasons[reason] = reasons.get(reason, 0) + rejected - known
    return {"in": records_in, "rejected": rejected, "rejected_by_reason": reasons, "scored": scored}


def _stage(
    stage: str,
    jobs: Sequence[Mapping[str, Any]],
    shard_stats: Mapping[str, Any] | None,
    prices: Prices | None,
    as_of: float,
) -> dict[str, Any]:
    job = merge_jobs(jobs) if len(jobs) > 1 else jobs[0]
    created, has_started = job.get("created_at"), job.get("started_at") is not None
    usage = _measure(job, as_of)
    # Failed attempts of a job are billed as well.
    every = [each for job in jobs for each in (_measure(job, as_of), *_list_earlier_attempts(job))]
    return {
        "stage": stage,
        **{key: job.get(key) for key in _JOB_FIELDS},
        "provisioning_seconds": None if created is None else usage.provisioning_seconds,
        "running_seconds": usage.running_seconds if has_started else None,
        "instances": shard_stats.get("instances") if shard_stats and stage == "preprocess" else None,
        "billed_seconds": sum(each.billed_seconds for each in every) if has_started else None,
        "dollars": None
        if prices is None or any(job["status"] == "unknown" for job in jobs)
        else sum_if_known(compute_stage_cost(each, prices) for each in every),
    }


def _measure(job: Mapping[str, Any], as_of: float) -> StageUsage:
    """The times of a job until now."""
    created, ended = (as_of if job.get(key) is None else job[key] for key in ("created_at", "ended_at"))
    return StageUsage(
        stage="",
        job_name="",
        instance_type=job.get("instance_type") or "",
        instance_count=job["instance_count"] or 1,
        created_at=created,
        started_at=job.get("started_at"),
        ended_at=ended,
    )


def _list_earlier_attempts(job: Mapping[str, Any]) -> list[StageUsage]:
    """What the failed attempts before a job used."""
    return [
        StageUsage(
            stage="",
            job_name="",
            instance_type=each.get("instance_type") or job.get("instance_type") or "",
            instance_count=1,
            created_at=0.0,
            earlier_billed_seconds=each["billed_seconds"],
        )
        for each in job.get("earlier_attempts") or ()
    ]
