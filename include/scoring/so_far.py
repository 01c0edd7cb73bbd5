"""The figures of a run without its report, in the shape of `report.json`, as far as they are known.

It is not written yet, never was, or cannot be read any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.scoring.reconciliation import REFUSED_BY_MODEL
from include.scoring.several_jobs import together
from include.scoring.summary import SUMS

#: Stands for the reasons of rejected records that nothing at hand names.
REASON_UNKNOWN = "not known here"


def figures_so_far(
    *,
    plan: Mapping[str, Any],
    jobs: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any] | None,
    published: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
    as_of: float,
) -> dict[str, Any]:
    """What a page can show of a run without its report; `as_of` is the time of looking, in epoch seconds.

    `plan` is the plan as JSON; `jobs` maps a stage to its jobs, one or several, each as a sensor accounts for it, times
    None while they are not reached; `facts` is what `shards` read back, `published` what `publish` returned, `told` the
    summary of a report, each None before.
    """
    # A summary has the sums of the whole run; how long instances were idle only the report says.
    summed = {} if told is None else {"total": {**{key: told[key] for key in SUMS}, "idle_seconds": None}}
    return {
        **summed,
        "pipeline": plan["pipeline"],
        "run_id": plan["run_id"],
        "moment": plan["moment"],
        "as_of": as_of,
        "dry_run": plan["dry_run"],
        "empty": plan["empty"],
        "records": _records(facts, published, None if told is None else told["records"]),
        "input": dict(plan["input"]),
        "output": _output(plan, published),
        "stages": [_stage(stage, of_it, facts, as_of) for stage, of_it in jobs.items()],
        "estimate": dict(plan["estimate"]),
        "sentences": list(plan["sentences"]),
        "first_rows": [],
    }


def _output(plan: Mapping[str, Any], published: Mapping[str, Any] | None) -> dict[str, Any]:
    if published is None:
        return {"uri": plan["output_uri"], "rows": None, "files": None}
    return {
        "uri": published["output_uri"],
        "rows": published["rows"],
        "files": len(published["files"]),
    }


def _records(
    facts: Mapping[str, Any] | None,
    published: Mapping[str, Any] | None,
    counted: Mapping[str, int] | None,
) -> dict[str, Any] | None:
    """As many as are known to be; None where nothing has counted them."""
    reasons: dict[str, int] = {} if facts is None else dict(facts["rejected"])
    known = sum(reasons.values())
    if counted is not None:
        came, scored, rejected = counted["in"], counted["scored"], counted["rejected"]
    elif facts is None:
        return None
    elif published is None:
        came, scored, rejected = facts["records_in"], None, known
    else:
        # `publish` commits nothing unless there is one row for each record that was scored.
        came, scored = facts["records_in"], published["rows"]
        rejected = came - scored
    if rejected > known:
        why = REASON_UNKNOWN if facts is None else REFUSED_BY_MODEL
        reasons[why] = reasons.get(why, 0) + rejected - known
    return {"in": came, "rejected": rejected, "rejected_by_reason": reasons, "scored": scored}


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
