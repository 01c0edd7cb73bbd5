"""A transform job from start to end."""

from __future__ import annotations

import threading
from typing import Any

from include.local_aws.runner.ending import ending
from include.local_aws.runner.failures import JobFailedError, JobStoppedError, ServiceFailedError
from include.local_aws.runner.inputs import resolve, share
from include.local_aws.runner.job import Job
from include.local_aws.runner.transform.instance import Instance, Progress
from include.local_aws.runner.transform.plan import TransformPlan


def run_transform(job: Job) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    instances: list[Instance] = []
    problem: BaseException | None = None
    try:
        instances, progress = _make_instances(job)
        _run_all(job, instances)
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


def _make_instances(job: Job) -> tuple[list[Instance], Progress]:
    plan = TransformPlan.of(job.spec)
    images = [job.registry.find(str(definition["Image"])) for definition in job.spec.containers]
    settings = job.spec.settings
    objects = resolve(job.s3, plan.data_type, plan.uri, skip_folder_keys=settings.skip_folder_keys)
    progress = Progress(job, len(objects))
    hosts = job.spec.hosts
    shares = share(objects, len(hosts), settings.assignment)
    return [
        Instance(job, host, plan, images, mine, progress) for host, mine in zip(hosts, shares, strict=True)
    ], progress


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
