"""The transform jobs of a run whose transform is mapped: read from XCom together, and as one stage of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.orchestration.names import MANIFESTS, TRANSFORM, TRANSFORMED
from include.scoring.cost import total
from include.scoring.errors import ReconciliationError


def finished_jobs(ti: Any) -> list[dict[str, Any]]:
    """What the sensors returned, in the order of the manifests.

    Raises:
        ReconciliationError: a job was asked to read another manifest than `manifests` wrote last.
    """
    listed: Sequence[Mapping[str, Any]] = ti.xcom_pull(MANIFESTS)
    indexes = range(len(listed))
    specs = ti.xcom_pull(TRANSFORM, key="spec", map_indexes=indexes)
    for job, spec in zip(listed, specs, strict=True):
        read = spec["request"]["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        if read != job["manifest"]:
            raise ReconciliationError(
                f"a transform job read {read}, but `manifests` wrote {job['manifest']}; the plan was made anew without "
                f"it: clear `transform` and all that follows it"
            )
    return [dict(each) for each in ti.xcom_pull(TRANSFORMED, map_indexes=indexes)]


def together(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several jobs as one in the sensors' form: from the first's creation to the last's end, each billed for its own.

    `own_billed_seconds` are the instance-seconds of all of them without failed attempts, which are in `earlier`. What
    `work_of` told of each, if it did, is told of all.
    """
    first = min(jobs, key=lambda job: job["created_at"])
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return {
        **first,
        "job_name": f"{first['job_name']}{more}",
        "instance_count": sum(job["instance_count"] for job in jobs),
        "started_at": min(job["started_at"] for job in jobs),
        "ended_at": max(job["ended_at"] for job in jobs),
        "own_billed_seconds": sum(job["billed_seconds"] for job in jobs),
        "attempt": max(job["attempt"] or 1 for job in jobs),
        "earlier": [each for job in jobs for each in job["earlier"]],
        "busy_seconds": total(job.get("busy_seconds") for job in jobs),
        "instances": _instances(jobs),
    }


def _instances(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """When each instance worked, named by its job's number where there are several; None when that is not known."""
    if any(not job.get("instances") for job in jobs):
        return None
    return [
        {**each, "instance": f"{number}/{each['instance']}" if len(jobs) > 1 else each["instance"]}
        for number, job in enumerate(jobs)
        for each in job["instances"]
    ]
