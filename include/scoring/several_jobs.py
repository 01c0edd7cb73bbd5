"""Several jobs that do the work of one stage, as one job. Each is billed for its own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.scoring.cost import total

COMPLETED = "Completed"


def together(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several jobs as one in the sensors' form: from the first's creation to the last's end.

    Times are None while they are not reached. `own_billed_seconds` are the instance-seconds of all of them without
    failed attempts, which are in `earlier`; `jobs` has what tells them apart. What is known of the instances of each,
    if it is, is told of all.
    """
    first = min(jobs, key=lambda job: job["created_at"] or float("inf"))
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    ends = [job["ended_at"] for job in jobs if job.get("ended_at") is not None]
    return {
        **first,
        "job_name": f"{first['job_name']}{more}",
        "status": next((job["status"] for job in jobs if job["status"] != COMPLETED), COMPLETED),
        "instance_count": sum(job["instance_count"] or 1 for job in jobs),
        "started_at": min(filter(None, (job.get("started_at") for job in jobs)), default=None),
        "ended_at": max(ends) if len(ends) == len(jobs) else None,
        "own_billed_seconds": sum(job.get("billed_seconds") or 0.0 for job in jobs),
        "attempt": max(job.get("attempt") or 1 for job in jobs),
        "earlier": [each for job in jobs for each in job.get("earlier") or ()],
        "busy_seconds": total(job.get("busy_seconds") for job in jobs),
        "instances": _instances(jobs),
        "jobs": [{name: job.get(name) for name in _OWN} for job in jobs] if len(jobs) > 1 else None,
    }


#: What a picture of single jobs needs, and what each cost.
_OWN = (
    "job_name", "instance_type", "instance_count", "created_at", "started_at", "ended_at", "billed_seconds",
)  # fmt: skip


def _instances(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """When each instance worked, named by its job's number where there are several; None when that is not known."""
    if any(not job.get("instances") for job in jobs):
        return None
    return [
        {**each, "instance": f"{number}/{each['instance']}" if len(jobs) > 1 else each["instance"]}
        for number, job in enumerate(jobs)
        for each in job["instances"]
    ]
