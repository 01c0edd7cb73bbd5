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
from include.scoring.naming import RunPaths, history_prefix, runs_prefix
from sagemaker_jobs.janitor import past_keeping

log = logging.getLogger(__name__)

SECONDS_PER_DAY = 86_400


def prune(
    storage: Storage, pipeline: Pipeline, *, is_active: Callable[[str, str], bool], now: float
) -> list[str]:
    """Delete the prefixes of runs that are over and wrote nothing for `keep_runs_days`; their URIs.

    Never those of a run that `is_active(dag_id, run_id)`, nor the last one with a report. A run that this Airflow does
    not know is over, too, once nothing was written for that time. Costs one listing for each run that is kept.
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
    newest = {folder: max(moment.timestamp() for _, moment in storage.written(folder)) for folder in runs}
    found = past_keeping(runs, newest, is_active=is_active, now=now, keep_seconds=keep_seconds)
    for folder in found:
        log.warning(
            "deleting %s of run %s: kept for %d days", folder, runs[folder][1], pipeline.keep_runs_days
        )
        plan = RunPaths(folder).plan
        storage.delete(uri for uri, _ in storage.written(folder) if uri != plan)
        storage.delete([plan])
    return found


def plans(storage: Storage, pipeline: Pipeline) -> dict[str, float]:
    """When the plan in each folder below the pipeline's work prefix was written, in epoch seconds, newest first."""
    place = {"work": pipeline.work, "pipeline": pipeline.name}
    moments = {
        folder: moment.timestamp()
        for folder in storage.folders(runs_prefix(**place))
        if folder != history_prefix(**place)
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
