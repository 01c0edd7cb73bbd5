"""Runs past their keeping time: their prefixes are found, proved to be a run's own, and deleted.

Nothing is deleted on the strength of its name. A folder below `<work>/<pipeline>/` is a run's if the plan in it says
so: of this pipeline, for a run whose own prefix this is. The plan is deleted last, so that a deletion that was cut off
is taken up again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.naming import RunPaths, runs_prefix
from sagemaker_jobs.janitor import past_keeping

log = logging.getLogger(__name__)

SECONDS_PER_DAY = 86_400


def prune(
    storage: Storage, pipeline: Pipeline, *, is_active: Callable[[str, str], bool], now: float
) -> list[str]:
    """Delete the prefixes of runs that are over and wrote nothing for `keep_runs_days`; their URIs.

    Never those of a run that `is_active(dag_id, run_id)`, nor the last one with a report. A run that this Airflow does
    not know is over, too, once nothing was written for that time. Costs one listing for each run that is kept.

    Of a run that is cleared while it is being deleted, what it writes under new names stays, its new plan too; a file
    that it has written again under its old name can go.
    """
    if pipeline.keep_runs_days is None:
        return []
    keep_seconds = pipeline.keep_runs_days * SECONDS_PER_DAY
    planned = plans(storage, pipeline)
    old = [folder for folder, moment in planned.items() if now - moment >= keep_seconds]
    if not old:
        return []
    last = last_reported(storage, planned)
    runs = {
        folder: (pipeline.name, run_id)
        for folder in old
        if folder != last and (run_id := run_of(storage, pipeline, folder)) is not None
    }
    removed: list[str] = []
    for folder, run in runs.items():
        # Listed before Airflow is asked: what a run writes that is cleared from now on is not in the list.
        plan = RunPaths(folder).plan
        etag, listed = storage.etag(plan), list(storage.written(folder))
        newest = max(moment.timestamp() for _, moment in listed)
        if not past_keeping(
            {folder: run}, {folder: newest}, is_active=is_active, now=now, keep_seconds=keep_seconds
        ):
            continue
        log.warning("deleting %s of run %s: kept for %d days", folder, run[1], pipeline.keep_runs_days)
        storage.delete(uri for uri, _ in listed if uri != plan)
        if storage.etag(plan) == etag:
            storage.delete([plan])
        removed.append(folder)
    return removed


def plans(storage: Storage, pipeline: Pipeline) -> dict[str, float]:
    """When the plan in each folder below the pipeline's work prefix was written, in epoch seconds, newest first."""
    place = {"work": pipeline.work, "pipeline": pipeline.name}
    moments = {
        folder: moment.timestamp()
        for folder in storage.folders(runs_prefix(**place))
        if not folder.removeprefix(runs_prefix(**place)).startswith("_")  # of all runs together
        for uri, moment in storage.written(RunPaths(folder).plan)
        if uri == RunPaths(folder).plan
    }
    return dict(sorted(moments.items(), key=lambda each: each[1], reverse=True))


def last_reported(storage: Storage, planned: Mapping[str, float]) -> str | None:
    """The first folder with a report, of folders in the order of `planned`."""
    reports = ((folder, RunPaths(folder).report_json) for folder in planned)
    return next((folder for folder, report in reports if report in storage.uris(report)), None)


def run_of(storage: Storage, pipeline: Pipeline, folder: str) -> str | None:
    """The id of the run whose own prefix `folder` is, by the plan in it; None where the plan does not prove it."""
    plan: Any = storage.read_json(RunPaths(folder).plan)
    run_id = plan.get("run_id") if isinstance(plan, dict) else None
    proved = (
        isinstance(run_id, str)
        and plan.get("pipeline") == pipeline.name
        and plan.get("run_prefix") == folder
        and RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=run_id).run_prefix == folder
    )
    if not proved:
        log.warning("%s is left alone: the plan in it is not of a run of %s there", folder, pipeline.name)
    return run_id if proved else None
