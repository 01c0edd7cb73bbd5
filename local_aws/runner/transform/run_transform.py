"""Runs a transform job from start to end."""

from __future__ import annotations

import threading
import time
from typing import Any

from local_aws.runner.data.inputs import assign_objects, list_input_objects
from local_aws.runner.data.s3_objects import S3_ERRORS
from local_aws.runner.ending import status_from_error
from local_aws.runner.failures import ClientFailedError, JobFailedError, JobStoppedError, ServiceFailedError
from local_aws.runner.job_context import JobContext
from local_aws.runner.transform.capture import write_capture_manifests
from local_aws.runner.transform.data_processing import create_processor
from local_aws.runner.transform.selection import FilterError
from local_aws.runner.transform.transform_instance import JobProgress, TransformInstance
from local_aws.runner.transform.transform_request import TransformRequest


def run_transform_job(job: JobContext) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    instances: list[TransformInstance] = []
    problem: BaseException | None = None
    try:
        request = TransformRequest.from_spec(job.spec)
        instances, progress = _create_instances(job, request)
        _run_instances(job, instances)
        _write_captured_data(job, request, progress)
        problem = job.stop_flag.cause
        if problem is None and progress.failures_by_object:
            problem = progress.failures_by_object[min(progress.failures_by_object)]
    except (JobFailedError, JobStoppedError) as error:
        problem = error
    return {
        **status_from_error(problem),
        "exit_message": None,
        "instances": [instance.meter.to_dict() for instance in instances],
    }


def _create_instances(
    job: JobContext, request: TransformRequest
) -> tuple[list[TransformInstance], JobProgress]:
    images = [job.image_registry.find(str(definition["Image"])) for definition in job.spec.containers]
    settings = job.spec.settings
    objects = list_input_objects(
        job.s3,
        request.data_type,
        request.uri,
        skip_folder_keys=settings.skip_folder_keys,
        partial_prefix=settings.partial_prefix,
    )
    progress = JobProgress(job, len(objects))
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        processor = create_processor(request, settings, started)
    except FilterError as error:
        for item in objects:
            job.logs.write_data_log(
                f"{job.spec.name}/{job.spec.hosts[0]}", f"{item.bucket}/{item.key}: {error}"
            )
        raise ClientFailedError from error
    hosts = job.spec.hosts
    shares = assign_objects(objects, len(hosts), settings.assignment)
    return [
        TransformInstance(job, host, request, images, mine, progress, processor)
        for host, mine in zip(hosts, shares, strict=True)
    ], progress


def _write_captured_data(job: JobContext, request: TransformRequest, progress: JobProgress) -> None:
    """Raises ClientFailedError when the captured data cannot be written."""
    if request.data_capture is None or not progress.finished_objects:
        return
    inputs, outputs = zip(*progress.finished_objects, strict=True)
    try:
        write_capture_manifests(job.s3, request.data_capture, inputs, outputs)
    except S3_ERRORS as error:
        raise ClientFailedError(
            f"Failed to write captured data to {request.data_capture.destination_uri}: {error}"
        ) from error


def _run_instances(job: JobContext, instances: list[TransformInstance]) -> None:
    def run_one(instance: TransformInstance) -> None:
        try:
            instance.run()
        except (JobFailedError, JobStoppedError) as error:
            job.stop_flag.set(error)
        except BaseException:
            # A defect of the runner or a full disk: the job must end, and the runner's own log says why.
            job.stop_flag.set(ServiceFailedError())
            raise

    threads = [
        threading.Thread(target=run_one, args=(instance,), name=instance.name) for instance in instances
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
