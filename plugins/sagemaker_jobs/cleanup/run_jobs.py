"""Finds all jobs of a run, in any state, as they are billed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sagemaker_jobs.aws import list_entries
from sagemaker_jobs.job.describe import Job, describe_job
from sagemaker_jobs.kinds import KINDS, JobKind
from sagemaker_jobs.tags import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook


def list_run_jobs(
    hook: SageMakerHook,
    *,
    name_prefix: str,
    tags: Mapping[str, str],
    created_after: datetime,
    name_part: str | None = None,
) -> list[Job]:
    """The jobs of a run as AWS describes them: submitted by any try of a task, whatever Airflow still knows of them.

    Those with ``name_part`` in their names are found at any age; others, of an earlier plan, by their ``tags``, if
    they were created after ``created_after`` and have ``name_prefix``.
    """
    found: dict[str, Job | None] = {}
    for kind in KINDS.values():
        for name, arn in _list_names(hook, kind, name_prefix, name_part, created_after):
            is_named = name_part is not None and name_part in name
            if name not in found and (is_named or tags.items() <= read_tags(hook, arn).items()):
                found[name] = describe_job(hook, kind, name)
    return [job for job in found.values() if job is not None]


def _list_names(
    hook: SageMakerHook, kind: JobKind, name_prefix: str, name_part: str | None, created_after: datetime
) -> Iterator[tuple[str, str]]:
    queries: list[dict[str, Any]] = [{"NameContains": name_prefix, "CreationTimeAfter": created_after}]
    if name_part is not None:
        queries.insert(0, {"NameContains": name_part})
    for query in queries:
        for entry in list_entries(hook, kind.list_method, kind.summaries_field, **query):
            if entry[kind.name_field].startswith(name_prefix):
                yield entry[kind.name_field], entry[kind.arn_field]


def await_job_ends(
    hook: SageMakerHook, jobs: list[Job], *, timeout_seconds: float, poll_seconds: float
) -> list[Job]:
    """The jobs, described again until all have ended, but no longer than ``timeout_seconds``.

    A job that is stopped is billed until its end, some minutes later.
    """
    deadline = time.monotonic() + timeout_seconds
    current = {job.name: job for job in jobs}
    while True:
        running = [job for job in current.values() if not job.has_ended]
        if not running or time.monotonic() >= deadline:
            return list(current.values())
        time.sleep(min(poll_seconds, max(0.0, deadline - time.monotonic())))
        for job in running:
            current[job.name] = describe_job(hook, job.kind, job.name) or job
