"""Merges the jobs of one stage into one job for reports. Each is billed for its own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_inference.pricing.costs import sum_if_known

COMPLETED = "Completed"


def merge_jobs(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The jobs as one, in the form of a sensor's XCom: from the first creation to the last end.

    Times that are not reached are None. `own_billed_seconds` are the instance-seconds of all jobs without failed
    attempts, which are in `earlier_attempts`; `jobs` has the figures of each job. `instances` is None unless it is
    known of every job.
    """
    first = min(jobs, key=lambda job: job["created_at"] or float("inf"))
    suffix = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    end_times = [job["ended_at"] for job in jobs if job.get("ended_at") is not None]
    return {
        **first,
        "job_name": f"{first['job_name']}{suffix}",
        "status": next((job["status"] for job in jobs if job["status"] != COMPLETED), COMPLETED),
        "instance_count": sum(job["instance_count"] or 1 for job in jobs),
        "started_at": min(filter(None, (job.get("started_at") for job in jobs)), default=None),
        "ended_at": max(end_times) if len(end_times) == len(jobs) else None,
        "own_billed_seconds": sum(job.get("billed_seconds") or 0.0 for job in jobs),
        "attempt": max(job.get("attempt") or 1 for job in jobs),
        "earlier_attempts": [each for job in jobs for each in job.get("earlier_attempts") or ()],
        "busy_seconds": sum_if_known(job.get("busy_seconds") for job in jobs),
        "instances": _merge_instances(jobs),
        "jobs": [{name: job.get(name) for name in _JOB_FIELDS} for job in jobs] if len(jobs) > 1 else None,
    }


#: Fields of a single job that the timeline and the costs need.
_JOB_FIELDS = (
    "job_name", "instance_type", "instance_count", "created_at", "started_at", "ended_at", "billed_seconds",
)  # fmt: skip


def _merge_instances(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """When each instance worked, prefixed with the number of its job where there are several; None when unknown."""
    if any(not job.get("instances") for job in jobs):
        return None
    return [
        {**each, "instance": f"{number}/{each['instance']}" if len(jobs) > 1 else each["instance"]}
        for number, job in enumerate(jobs)
        for each in job["instances"]
    ]
