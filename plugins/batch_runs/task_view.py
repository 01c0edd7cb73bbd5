"""Describes the outcome of each task of a pipeline in one run, in a sentence or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batch_inference.common.formatting import format_count, format_duration
from batch_inference.run import task_ids

Report = Mapping[str, Any]


def describe_outcome(task_id: str, report: Report | None) -> list[str]:
    """Sentences about a task's outcome in a run, from its figures so far."""
    tell = _OUTCOMES.get(task_id)
    return [] if tell is None or report is None else tell(report)


def _describe_job_of_stage(stage: str) -> Callable[[Report], list[str]]:
    def said(report: Report) -> list[str]:
        job = next((each for each in report["stages"] if each["stage"] == stage), None)
        if job is None:
            return []
        where = f"{format_count(job['instance_count'] or 1, 'instance')} of type {job['instance_type']}"
        if job["running_seconds"] is None:
            return [f"The job {job['job_name']} waits for {where}."]
        return [f"The job {job['job_name']} ran {format_duration(job['running_seconds'])} on {where}."]

    return said


def _describe_shards(report: Report) -> list[str]:
    records = report["records"]
    if not records:
        return []
    rejected = [f"{number:,} rejected: {reason}" for reason, number in records["rejected_by_reason"].items()]
    return [f"{format_count(records['in'], 'record')} came in.", *rejected]


def _describe_output(report: Report) -> list[str]:
    rows, files, uri = (report["output"][key] for key in ("rows", "files", "uri"))
    return [] if rows is None else [f"{format_count(rows, 'row')} in {format_count(files, 'file')} at {uri}"]


_OUTCOMES: Mapping[str, Callable[[Report], list[str]]] = {
    task_ids.PLAN: lambda report: list(report["sentences"]),
    task_ids.PREPROCESS: _describe_job_of_stage("preprocess"),
    task_ids.AWAIT_PREPROCESS: lambda report: [
        *_describe_job_of_stage("preprocess")(report),
        *_describe_shards(report),
    ],
    task_ids.TRANSFORM: _describe_job_of_stage("transform"),
    task_ids.AWAIT_TRANSFORM: _describe_job_of_stage("transform"),
    task_ids.PUBLISH: _describe_output,
}
