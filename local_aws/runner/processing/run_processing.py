"""Runs a processing job from start to end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_aws.runner.data.inputs import InputObject, assign_objects, list_input_objects
from local_aws.runner.failures import AlgorithmFailedError, JobFailedError, JobStoppedError, status_from_error
from local_aws.runner.job_context import JobContext, run_on_instances
from local_aws.runner.processing.host_addresses import reserve_addresses, write_hosts_file
from local_aws.runner.processing.processing_instance import ProcessingInstance
from local_aws.runner.processing.processing_request import (
    ProcessingInput,
    get_max_runtime_seconds,
    parse_inputs,
    parse_outputs,
)

EXIT_MESSAGE_BYTES = 1024


def run_processing_job(job: JobContext) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    timer = threading.Timer(
        get_max_runtime_seconds(job.spec), job.stop_flag.set, args=(JobStoppedError("MaxRuntimeInSeconds"),)
    )
    timer.daemon = True
    timer.start()
    hosts: list[ProcessingInstance] = []
    problem: BaseException | None = None
    try:
        if job.stop_flag.wait(job.spec.settings.boot_delay_seconds):
            job.stop_flag.raise_if_set()
        with reserve_addresses(job.spec.hosts) as addresses:
            hosts_file = job.spec.work_dir / "hosts"
            write_hosts_file(hosts_file, addresses)
            hosts = _create_instances(job, hosts_file)
            problem = run_on_instances(
                job, hosts, _run_instance, stop_others=job.spec.settings.stop_others_on_host_failure
            )
        if problem is None or job.spec.settings.upload_on_failure:
            problem = _upload_outputs(job, hosts) or problem
    except (JobFailedError, JobStoppedError) as error:
        problem = error
    finally:
        timer.cancel()
    message, bad_message = _join_exit_messages(hosts)
    problem = problem or bad_message
    return {
        **status_from_error(problem),
        "exit_message": message,
        "instances": [host.meter.to_dict() for host in hosts],
    }


def _create_instances(job: JobContext, hosts_file: Path) -> list[ProcessingInstance]:
    image = job.image_registry.find(job.spec.request["AppSpecification"]["ImageUri"])
    outputs = parse_outputs(job.spec)
    names, settings = job.spec.hosts, job.spec.settings
    inputs_by_host: list[list[tuple[ProcessingInput, list[InputObject]]]] = [[] for _ in names]
    for given in parse_inputs(job.spec):
        # The SageMaker SDK uploads to s3://…/input-1 and names no slash; its users find the files in LocalPath itself.
        objects = list_input_objects(
            job.s3, given.data_type, given.uri, skip_folder_keys=settings.skip_folder_keys
        )
        parts = [objects] * len(names)
        if given.is_sharded:
            parts = assign_objects(objects, len(names), settings.assignment)
        for inputs, part in zip(inputs_by_host, parts, strict=True):
            inputs.append((given, part))
    return [
        ProcessingInstance(job, name, image, inputs, outputs, hosts_file)
        for name, inputs in zip(names, inputs_by_host, strict=True)
    ]


def _run_instance(host: ProcessingInstance) -> None:
    host.meter.start()
    try:
        if host.run():
            # A container that ends because the job is being stopped is no failure of its own.
            host.job.stop_flag.raise_if_set()
            raise AlgorithmFailedError
    finally:
        host.meter.end()


def _upload_outputs(job: JobContext, hosts: Sequence[ProcessingInstance]) -> BaseException | None:
    """Upload host by host, so that the setting `collision_winner` decides a name collision."""
    last = job.spec.settings.collision_winner == "last_host"
    for host in hosts if last else reversed(hosts):
        try:
            host.upload(host.outputs)
        except JobFailedError as error:
            return error
        finally:
            host.meter.end()
    return None


def _join_exit_messages(hosts: Sequence[ProcessingInstance]) -> tuple[str | None, BaseException | None]:
    """The hosts' messages one after the other, cut to 1 KB."""
    texts, problem = [], None
    for host in hosts:
        try:
            texts.append(host.read_exit_message())
        except JobFailedError as error:
            problem = problem or error
    text = "".join(texts).encode()[:EXIT_MESSAGE_BYTES].decode(errors="ignore")
    return text or None, problem
