"""The figures of a run that has not ended, in the shape of `report.json`, as far as they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.scoring.several_jobs import together


def figures_so_far(
    *,
    plan: Mapping[str, Any],
    jobs: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any] | None,
    as_of: float,
) -> dict[str, Any]:
    """What a page can show of a run before its report exists; `as_of` is the time of looking, in epoch seconds.

    `plan` is the plan as JSON; `jobs` maps a stage to its jobs, one or several, each as a sensor accounts for it, times
    None while they are not reached; `facts` is what `shards` read back, None before.
    """
    return {
        "pipeline": plan["pipeline"],
        "run_id": plan["run_id"],
        "moment": plan["moment"],
        "as_of": as_of,
        "dry_run": plan["dry_run"],
        "empty": plan["empty"],
        "records": None if facts is None else _records(facts),
        "input": dict(plan["input"]),
        "output": {"uri": plan["output_uri"], "rows": None, "files": None},
        "stages": [_stage(stage, of_it, facts, as_of) for stage, of_it in jobs.items()],
        "estimate": dict(plan["estimate"]),
        "sentences": list(plan["sentences"]),
        "first_rows": [],
    }


def _records(facts: Mapping[str, Any]) -> dict[str, Any]:
    rejected: Mapping[str, int] = facts["rejected"]
    return {
        "in": facts["records_in"],
        "rejected": sum(rejected.values()),
        "rejected_by_reason": dict(rejected),
        "scored": None,
    }


def _stage(
    stage: str, jobs: Sequence[Mapping[str, Any]], facts: Mapping[str, Any] | None, as_of: float
) -> dict[str, Any]:
    job = together(jobs) if len(jobs) > 1 else jobs[0]
    created, started, ended = (job.get(key) for key in ("created_at", "started_at", "ended_at"))
    provisioned = started if started is not None else ended if ended is not None else as_of
    running = None if started is None else max(0.0, (ended if ended is not None else as_of) - started)
    return {
        "stage": stage,
        "job_name": job["job_name"],
        "status": job["status"],
        "instance_type": job["instance_type"],
        "instance_count": job["instance_count"],
        "created_at": created,
        "started_at": started,
        "ended_at": ended,
        "provisioning_seconds": None if created is None else max(0.0, provisioned - created),
        "running_seconds": running,
        "instances": facts.get("instances") if facts and stage == "preprocess" else None,
        "jobs": job.get("jobs"),
        "billed_seconds": None if running is None else sum(_billed(each, as_of) for each in jobs),
    }


def _billed(job: Mapping[str, Any], as_of: float) -> float:
    """Instance-seconds of one job until now."""
    started, ended = job.get("started_at"), job.get("ended_at")
    running = 0.0 if started is None else max(0.0, (as_of if ended is None else ended) - started)
    return running * float(job["instance_count"] or 1)
