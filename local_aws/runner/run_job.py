"""Runs one job of either kind, with its events and its log."""

from __future__ import annotations

from local_aws.runner.job_context import EventWriter, JobContext
from local_aws.runner.processing.run_processing import run_processing_job
from local_aws.runner.runner_spec import RunnerSpec
from local_aws.runner.stopping import StopFlag
from local_aws.runner.transform.run_transform import run_transform_job

RUN_BY_KIND = {"transform": run_transform_job, "processing": run_processing_job}


def run_job(spec: RunnerSpec, events: EventWriter, stop_flag: StopFlag) -> None:
    """Sends `started`, runs the job until it ends or `stop_flag` is set, delivers its log, sends `finished`."""
    events.send("started")
    job = JobContext(spec, events, stop_flag)
    try:
        result = RUN_BY_KIND[spec.kind](job)
    finally:
        job.logs.close()
    events.send("finished", **result)
