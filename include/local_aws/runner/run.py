"""One job of either kind, with its events and its log."""

from __future__ import annotations

from include.local_aws.runner.events import Events
from include.local_aws.runner.job import Job
from include.local_aws.runner.processing.run import run_processing
from include.local_aws.runner.spec import Spec
from include.local_aws.runner.stopping import StopFlag
from include.local_aws.runner.transform.run import run_transform

RUN = {"transform": run_transform, "processing": run_processing}


def run_job(spec: Spec, events: Events, flag: StopFlag) -> None:
    """Sends `started`, runs the job until it ends or `flag` is set, delivers its log, sends `finished`."""
    events.send("started")
    job = Job(spec, events, flag)
    try:
        result = RUN[spec.kind](job)
    finally:
        job.logs.close()
    events.send("finished", **result)
