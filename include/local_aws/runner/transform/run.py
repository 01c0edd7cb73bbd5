"""A transform job from start to end."""

from __future__ import annotations

import threading
import time
from typing import Any

from include.local_aws.runner.ending import ending
from include.local_aws.runner.failures import (
    ClientFailedError,
    JobFailedError,
    JobStoppedError,
    ServiceFailedError,
)
from include.local_aws.runner.inputs import resolve, share
from include.local_aws.runner.job import Job
from include.local_aws.runner.s3 import S3Error
from include.local_aws.runner.transform.capture import write_manifests
from include.local_aws.runner.transform.data_processing import processor_for
from include.local_aws.runner.transform.instance import Instance, Progress
from include.local_aws.runner.transform.json_path import FilterError
from include.local_aws.runner.transform.plan import TransformPlan


def run_transform(job: Job) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    instances: list[Instance] = []
    problem: BaseException | None = None
    try:
        plan = TransformPlan.of(job.spec)
        instances, progress = _make_instances(job, plan)
        _run_all(job, instances)
        _capture(job, plan, progress)
        problem = job.flag.cause
        if problem is None and progress.failures:
            problem = progress.failures[min(progress.failures)]
    except (JobFailedError, JobStoppedError) as error:
        problem = error
    return {
        **ending(problem),
        "exit_message": None,
        "instances": [instance.meter.figures() for instance in instances],
    }


def _make_instances(job: Job, plan: TransformPlan) -> tuple[list[Instance], Progress]:
    images = [job.registry.find(str(definition["Image"])) for definition in job.spec.containers]
    settings = job.spec.settings
    objects = resolve(
        job.s3,
        plan.data_type,
        plan.uri,
        skip_folder_keys=settings.skip_folder_keys,
        partial_prefix=settings.partial_prefix,
    )
    progress = Progress(job, len(objects))
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        processor = processor_for(plan, settings, started)
    except FilterError as error:
        for item in objects:
            job.logs.data_log(f"{job.spec.name}/{job.spec.hosts[0]}", f"{item.bucket}/{item.key}: {error}")
        raise ClientFailedError from error
    hosts = job.spec.hosts
    shares = share(objects, len(hosts), settings.assignment)
    return [
        Instance(job, host, plan, images, mine, progress, processor)
        for host, mine in zip(hosts, shares, strict=True)
    ], progress


def _capture(job: Job, plan: TransformPlan, progress: Progress) -> None:
    """Raises ClientFailedError when the captured data cannot be written."""
    if plan.capture is None or not progress.finished:
        return
    inputs, outputs = zip(*progress.finished, strict=True)
    try:
        write_manifests(job.s3, plan.capture, inputs, outputs)
    except S3Error as error:
        raise ClientFailedError(
            f"Failed to write captured data to {plan.capture.destination}: {error}"
        ) from error


def _run_all(job: Job, instances: list[Instance]) -> None:
    def one(instance: Instance) -> None:
        try:
            instance.run()
        except (JobFailedError, JobStoppedError) as error:
            job.flag.set(error)
        except BaseException:
            # A defect of the runner or a full disk: the job must end, and the runner's own log says why.
            job.flag.set(ServiceFailedError())
            raise

    threads = [threading.Thread(target=one, args=(instance,), name=instance.name) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
