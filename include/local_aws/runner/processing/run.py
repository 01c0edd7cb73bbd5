"""A processing job from start to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from include.local_aws.runner.ending import ending
from include.local_aws.runner.failures import AlgorithmFailedError, JobFailedError, JobStoppedError
from include.local_aws.runner.inputs import InputObject, resolve, share
from include.local_aws.runner.job import Job
from include.local_aws.runner.processing.host import Host
from include.local_aws.runner.processing.plan import Input, inputs_of, max_runtime, outputs_of

EXIT_MESSAGE_BYTES = 1024


def run_processing(job: Job) -> dict[str, Any]:
    """Runs the job; returns the fields of the `finished` event."""
    timer = threading.Timer(
        max_runtime(job.spec), job.flag.set, args=(JobStoppedError("MaxRuntimeInSeconds"),)
    )
    timer.daemon = True
    timer.start()
    hosts: list[Host] = []
    problem: BaseException | None = None
    try:
        if job.flag.wait(job.spec.settings.boot_delay_seconds):
            job.flag.check()
        hosts = _make_hosts(job)
        problem = _on_every_host(hosts, lambda host: _run_host(job, host))
        if problem is None or job.spec.settings.upload_on_failure:
            problem = _upload(job, hosts) or problem
    except (JobFailedError, JobStoppedError) as error:
        problem = error
    finally:
        timer.cancel()
    message, bad_message = _exit_message(hosts)
    problem = problem or bad_message
    return {**ending(problem), "exit_message": message, "instances": [host.meter.figures() for host in hosts]}


def _make_hosts(job: Job) -> list[Host]:
    image = job.registry.find(job.spec.request["AppSpecification"]["ImageUri"])
    outputs = outputs_of(job.spec)
    names = job.spec.hosts
    shares: list[tuple[Input, list[list[InputObject]]]] = []
    for given in inputs_of(job.spec):
        # The SageMaker SDK uploads to s3://…/input-1 and names no slash; its users find the files in LocalPath itself.
        objects = resolve(
            job.s3, given.data_type, given.uri, skip_folder_keys=job.spec.settings.skip_folder_keys
        )
        parts = (
            share(objects, len(names), job.spec.settings.assignment)
            if given.sharded
            else [objects] * len(names)
        )
        shares.append((given, parts))
    return [
        Host(job, name, image, [(given, parts[number]) for given, parts in shares], outputs)
        for number, name in enumerate(names)
    ]


def _run_host(job: Job, host: Host) -> None:
    host.meter.start()
    code = host.run()
    if not code:
        return
    # A container that ends because the job is being stopped is no failure of its own.
    failure = AlgorithmFailedError()
    if job.spec.settings.stop_others_on_host_failure:
        job.flag.set(failure)
    job.flag.check()
    raise failure


def _upload(job: Job, hosts: Sequence[Host]) -> BaseException | None:
    """Host after host, so that who wins a collision is a setting and not a race."""
    last = job.spec.settings.collision_winner == "last_host"
    for host in hosts if last else reversed(hosts):
        try:
            host.upload(host.outputs)
        except JobFailedError as error:
            return error
        finally:
            host.meter.end()
    return None


def _on_every_host(hosts: Sequence[Host], work: Callable[[Host], None]) -> BaseException | None:
    """Runs `work` for all hosts at once; the first problem in host order, a set stop flag before all."""
    problems: dict[str, BaseException] = {}

    def one(host: Host) -> None:
        try:
            work(host)
        except (JobFailedError, JobStoppedError, OSError, ValueError) as error:
            problems[host.name] = error
            if isinstance(error, JobFailedError):
                host.job.flag.set(error)
        finally:
            host.meter.end()

    threads = [threading.Thread(target=one, args=(host,), name=host.name) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if hosts and hosts[0].job.flag.cause is not None:
        return hosts[0].job.flag.cause
    return next((problems[host.name] for host in hosts if host.name in problems), None)


def _exit_message(hosts: Sequence[Host]) -> tuple[str | None, BaseException | None]:
    """The hosts' messages one after the other, cut to 1 KB."""
    texts, problem = [], None
    for host in hosts:
        try:
            texts.append(host.message())
        except JobFailedError as error:
            problem = problem or error
    text = "".join(texts).encode()[:EXIT_MESSAGE_BYTES].decode(errors="ignore")
    return text or None, problem
