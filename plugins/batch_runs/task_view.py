"""What each task of the chain is for, and what came of it in one run, in a sentence or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from include.orchestration import names
from include.orchestration.documentation import TASKS
from include.scoring.messages import count, duration

Report = Mapping[str, Any]


def about(task_id: str) -> str:
    """What the task is for; nothing for one that is not in the chain."""
    return TASKS.get(task_id, "")


def told_by(task_id: str, report: Report | None) -> list[str]:
    """What came of the task in a run, as far as its figures tell."""
    tell = _TOLD.get(task_id)
    return [] if tell is None or report is None else tell(report)


def _sentences(report: Report) -> list[str]:
    return list(report["sentences"])


def _job(stage: str) -> Callable[[Report], list[str]]:
    def said(report: Report) -> list[str]:
        job = next((each for each in report["stages"] if each["stage"] == stage), None)
        if job is None:
            return []
        where = f"{count(job['instance_count'] or 1, 'instance')} of type {job['instance_type']}"
        if job["running_seconds"] is None:
            return [f"The job {job['job_name']} waits for {where}."]
        return [f"The job {job['job_name']} ran {duration(job['running_seconds'])} on {where}."]

    return said


def _shards(report: Report) -> list[str]:
    records = report["records"]
    if not records:
        return []
    rejected = [f"{number:,} rejected: {reason}" for reason, number in records["rejected_by_reason"].items()]
    return [f"{count(records['in'], 'record')} came in.", *rejected]


def _published(report: Report) -> list[str]:
    output = report["output"]
    if output["rows"] is None:
        return []
    return [f"{count(output['rows'], 'row')} in {count(output['files'], 'file')} at {output['uri']}"]


_TOLD: Mapping[str, Callable[[Report], list[str]]] = {
    names.PLAN: _sentences,
    names.PREPROCESS: _job("preprocess"),
    names.PREPROCESSED: _job("preprocess"),
    names.SHARDS: _shards,
    names.TRANSFORM: _job("transform"),
    names.TRANSFORMED: _job("transform"),
    names.PUBLISH: _published,
}
