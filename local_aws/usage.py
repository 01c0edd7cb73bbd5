"""Computes what each job used: instances, billed seconds, busy seconds, idle share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from local_aws.settings import Settings
from local_aws.state.jobs import Job, JobKindName, JobStatus

COLUMNS = ("job", "kind", "status", "instances", "type", "billed s", "busy s", "idle")


def _compute_elapsed_seconds(job: Job, now: float) -> float:
    """From start to end (or `now`); 0 for a job that never started."""
    if job.started_at is None:
        return 0.0
    return max(0.0, (job.ended_at if job.ended_at is not None else now) - job.started_at)


def compute_billed_seconds_per_instance(job: Job, settings: Settings, now: float) -> float:
    """From start to end (or `now`), as AWS bills one instance; 0 for a job that never started."""
    if job.started_at is None:
        return 0.0
    # Rounded first: two epoch floats differ by 1.0000002 s where AWS bills one second.
    steps = math.ceil(round(_compute_elapsed_seconds(job, now) / settings.billing_granularity_seconds, 3))
    return max(settings.billing_minimum_seconds, steps * settings.billing_granularity_seconds)


class JobUsage(TypedDict):
    """One job's usage.

    Seconds: `billed_seconds` is per instance, `billed_instance_seconds` over all of them; `busy_seconds` is
    the time instances had work, over all of them, None until the job ends. `idle_share` is the part of
    the time the instances existed in which they had none.
    """

    name: str
    kind: JobKindName
    region: str
    status: JobStatus
    instance_type: str
    instance_count: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    provisioning_seconds: float | None
    billed_seconds: float
    billed_instance_seconds: float
    busy_seconds: float | None
    idle_share: float | None
    instances: list[dict[str, Any]]


def compute_usage(job: Job, settings: Settings, now: float) -> JobUsage:
    """One job's usage."""
    elapsed = _compute_elapsed_seconds(job, now)
    busy = sum(float(host.get("busy_seconds", 0)) for host in job.instances) if job.instances else None
    idle = None
    if busy is not None and elapsed > 0:
        idle = min(1.0, max(0.0, 1 - busy / (elapsed * job.instance_count)))
    billed = compute_billed_seconds_per_instance(job, settings, now)
    return {
        "name": job.name,
        "kind": job.kind,
        "region": job.region,
        "status": job.status,
        "instance_type": job.instance_type,
        "instance_count": job.instance_count,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "provisioning_seconds": None if job.started_at is None else job.started_at - job.created_at,
        "billed_seconds": billed,
        "billed_instance_seconds": billed * job.instance_count,
        "busy_seconds": busy,
        "idle_share": idle,
        "instances": job.instances,
    }


def list_usage(jobs: Iterable[Job], settings: Settings) -> list[JobUsage]:
    """Usage of many jobs at this moment."""
    now = time.time()
    return [compute_usage(job, settings, now) for job in jobs]


def format_usage_table(rows: Sequence[JobUsage]) -> str:
    """The rows as text for a terminal, with a line of sums."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    billed = sum(row["billed_instance_seconds"] for row in rows)
    busy = sum(row["busy_seconds"] or 0 for row in rows)
    cells.append((f"{len(rows)} jobs", "", "", "", "", f"{billed:.0f}", f"{busy:.1f}", ""))
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 1, 2, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(row: JobUsage) -> tuple[str, ...]:
    return (
        row["name"],
        row["kind"],
        row["status"],
        str(row["instance_count"]),
        row["instance_type"],
        f"{row['billed_instance_seconds']:.0f}",
        "-" if row["busy_seconds"] is None else f"{row['busy_seconds']:.1f}",
        "-" if row["idle_share"] is None else f"{row['idle_share']:.0%}",
    )
