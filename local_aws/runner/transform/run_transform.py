"""Runs a transform job from start to end."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from local_aws.runner.data.inputs import assign_objects, list_input_objects
from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address
from local_aws.runner.failures import ClientFailedError, JobFailedError, JobStoppedError, status_from_error
from local_aws.runner.job_context import JobContext, run_on_instances
from local_aws.runner.transform.data_processing import create_processor
from local_aws.runner.transform.selection import FilterError
from local_aws.runner.transform.transform_instance import ObjectOutcomes, TransformInstance
from local_aws.runner.transform.transform_request import TransformRequest


def run_transform_job(job: JobContext) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    instances: list[TransformInstance] = []
    problem: BaseException | None = None
    try:
        request = TransformRequest.from_spec(job.spec)
        instances, outcomes = _create_instances(job, request)
        run_on_instances(job, instances, TransformInstance.run)
        _write_captured_data(job, request, outcomes)
        problem = job.stop_flag.cause
        if problem is None and outcomes.failures_by_object:
            problem = outcomes.failures_by_object[min(outcomes.failures_by_object)]
    except (JobFailedError, JobStoppedError) as error:
        problem = error
    return {
        **status_from_error(problem),
        "exit_message": None,
        "instances": [instance.meter.to_dict() for instance in instances],
    }


def _create_instances(
    job: JobContext, request: TransformRequest
) -> tuple[list[TransformInstance], ObjectOutcomes]:
    images = [job.image_registry.find(str(definition["Image"])) for definition in job.spec.containers]
    settings, hosts = job.spec.settings, job.spec.hosts
    objects = list_input_objects(
        job.s3,
        request.data_type,
        request.uri,
        skip_folder_keys=settings.skip_folder_keys,
        partial_prefix=settings.partial_prefix,
    )
    outcomes = ObjectOutcomes(job, len(objects))
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        processor = create_processor(request, settings, started)
    except FilterError as error:
        for item in objects:
            job.logs.write_data_log(f"{job.spec.name}/{hosts[0]}", f"{item.bucket}/{item.key}: {error}")
        raise ClientFailedError from error
    shares = assign_objects(objects, len(hosts), settings.assignment)
    return [
        TransformInstance(job, host, request, images, mine, outcomes, processor)
        for host, mine in zip(hosts, shares, strict=True)
    ], outcomes


def _write_captured_data(job: JobContext, request: TransformRequest, outcomes: ObjectOutcomes) -> None:
    """Data capture: manifests of the objects that the job read and wrote, in folders of the current hour.

    They are `<destination>/input/yyyy/mm/dd/hh/<id>.json` and the same below output/. Raises ClientFailedError when
    they cannot be written.
    """
    if request.capture_uri is None or not outcomes.finished_objects:
        return
    base = S3Address.parse(request.capture_uri.rstrip("/") + "/")
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
    try:
        inputs, outputs = zip(*outcomes.finished_objects, strict=True)
        for folder, addresses in (("input", inputs), ("output", outputs)):
            key = f"{base.key}{folder}/{hour}/{uuid.uuid4()}.json"
            with job.s3.open_writer(S3Address(base.bucket, key)) as target:
                target.write(_build_manifest(addresses))
    except S3_ERRORS as error:
        raise ClientFailedError(f"Failed to write captured data to {request.capture_uri}: {error}") from error


def _build_manifest(addresses: Sequence[S3Address]) -> bytes:
    """A JSON list: the prefix that all share (up to a slash), then each name after it."""
    keys = sorted(address.key for address in addresses)
    shared = _common_folder(keys)
    prefix = S3Address(addresses[0].bucket, shared)
    return json.dumps([{"prefix": str(prefix)}, *(key[len(shared) :] for key in keys)]).encode()


def _common_folder(keys: Sequence[str]) -> str:
    first, last = keys[0], keys[-1]
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[: first.rfind("/", 0, length) + 1]
