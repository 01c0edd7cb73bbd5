"""Retention of run files: deletes the prefixes of runs that are older than `keep_runs_days`.

A name alone never suffices: a folder below `<work>/<pipeline>/` is deleted only if its plan.json is of this pipeline
and names a run whose prefix this is. The plan is deleted last, so that an interrupted deletion is resumed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths, build_runs_prefix
from batch_inference.config.pipeline import Pipeline

log = logging.getLogger(__name__)

SECONDS_PER_DAY = 86_400


def delete_expired_runs(
    storage: Storage, pipeline: Pipeline, *, is_active: Callable[[str, str], bool], now: float
) -> list[str]:
    """Delete the prefixes of finished runs that wrote nothing for `keep_runs_days`; returns the prefixes.

    Never that of a run that `is_active(dag_id, run_id)`, nor the last one with a report. A run that this Airflow does
    not know counts as finished once nothing was written for that time. Costs one listing for each run that is kept.

    When a run is cleared while it is deleted, its files with new names stay, and so does its new plan; a file that it
    writes again under an old name may be deleted.
    """
    if pipeline.keep_runs_days is None:
        return []
    keep_seconds = pipeline.keep_runs_days * SECONDS_PER_DAY
    plan_times = list_plan_times(storage, pipeline)
    old = [folder for folder, moment in plan_times.items() if now - moment >= keep_seconds]
    if not old:
        return []
    last_run = find_last_reported(storage, plan_times)
    runs = {
        folder: (pipeline.name, run_id)
        for folder in old
        if folder != last_run and (run_id := read_run_id(storage, pipeline, folder)) is not None
    }
    removed: list[str] = []
    for folder, run in runs.items():
        # Listed before Airflow is asked, so that the list has no file of a run that is cleared from now on.
        plan = RunPaths(folder).plan
        etag, listed = storage.read_etag(plan), list(storage.list_write_times(folder))
        newest = max(moment.timestamp() for _, moment in listed)
        if now - newest < keep_seconds or is_active(*run):
            continue
        log.warning("deleting %s of run %s: kept for %d days", folder, run[1], pipeline.keep_runs_days)
        storage.delete(uri for uri, _ in listed if uri != plan)
        if storage.read_etag(plan) == etag:
            storage.delete([plan])
        removed.append(folder)
    return removed


def list_plan_times(storage: Storage, pipeline: Pipeline) -> dict[str, float]:
    """When the plan in each folder below the pipeline's work prefix was written, in epoch seconds, newest first."""
    prefix = build_runs_prefix(work=pipeline.work, pipeline=pipeline.name)
    moments = {
        folder: moment.timestamp()
        for folder in storage.list_folders(prefix)
        if not folder.startswith(f"{prefix}_")  # shared by all runs
        for uri, moment in storage.list_write_times(RunPaths(folder).plan)
        if uri == RunPaths(folder).plan
    }
    return dict(sorted(moments.items(), key=lambda each: each[1], reverse=True))


def find_last_reported(storage: Storage, plan_times: Mapping[str, float]) -> str | None:
    """The first folder with a report, in the order of `plan_times`."""
    reports = ((folder, RunPaths(folder).report_json) for folder in plan_times)
    return next((folder for folder, report in reports if report in storage.list_uris(report)), None)


def read_run_id(storage: Storage, pipeline: Pipeline, folder: str) -> str | None:
    """The id of the run of this folder, from its plan.json; None unless the plan is of this pipeline and folder."""
    plan: Any = storage.read_json(RunPaths(folder).plan)
    run_id = plan.get("run_id") if isinstance(plan, dict) else None
    if isinstance(run_id, str) and (plan.get("pipeline"), plan.get("run_prefix")) == (pipeline.name, folder):
        paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
        if paths.root == folder:
            return run_id
    log.warning(
        "%s is not deleted: its plan.json is not of a run of %s with this prefix", folder, pipeline.name
    )
    return None
