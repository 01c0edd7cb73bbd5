"""Starts, pings and stops the model's containers on one instance."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from local_aws.runner.containers.container_process import Container
from local_aws.runner.containers.images import Image
from local_aws.runner.containers.sandbox import Sandbox
from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address, S3Storage
from local_aws.runner.data.unpacking import (
    GZIP_ERRORS,
    UNPACK_LIMIT_VARIABLE,
    ArchiveTooLargeError,
    unpack_tar_gz,
)
from local_aws.runner.failures import PING_FAILED, AlgorithmFailedError, ClientFailedError
from local_aws.runner.job_context import JobContext
from local_aws.runner.transform.client import send_get
from local_aws.runner.transform.ports import PortReservation


class ModelContainers:
    """One container for each ContainerDefinition. `start` must run in a thread that outlives them."""

    def __init__(
        self, job: JobContext, host: str, images: list[Image], stream: str, environment: Mapping[str, str]
    ) -> None:
        self._job = job
        self._host = host
        self._images = images
        self._stream = stream
        self._environment = environment
        self._containers: list[Container] = []
        self._reservations: list[PortReservation] = []
        self._lock = threading.Lock()
        #: The port of each container, in order.
        self.ports: list[int] = []

    def start(self) -> None:
        """Models in place, containers up, each /ping answered; else raises JobFailedError or the flag's cause."""
        definitions = self._job.spec.containers
        for number, (definition, image) in enumerate(zip(definitions, self._images, strict=True), start=1):
            self._start_one(definition, image, number)
            self._job.stop_flag.raise_if_set()
        deadline = time.monotonic() + self._job.spec.settings.ping_timeout_seconds
        for container, port in zip(self._containers, self.ports, strict=True):
            self._wait_for_ping(container, port, deadline)

    def _start_one(self, definition: dict[str, Any], image: Image, number: int) -> None:
        spec = self._job.spec
        name = definition.get("ContainerHostname") or f"container_{number}"
        sandbox = Sandbox(self._job.isolation, spec.work_dir / self._host / str(number), image.visible_paths)
        if uri := definition.get("ModelDataUrl"):
            folder = sandbox.to_host_path("/opt/ml/model")
            unpack_model(self._job.s3, uri, folder, name, spec.settings.unpacked_archive_bytes)
        reservation = PortReservation(spec.settings)
        port = reservation.first_port
        with self._lock:
            self._reservations.append(reservation)
            self.ports.append(port)
        variables = {
            **image.build_environment(port),
            **self._job.build_service_environment(),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_SAFE_PORT_RANGE": reservation.safe_port_range,
            UNPACK_LIMIT_VARIABLE: str(spec.settings.unpacked_archive_bytes),
            **(definition.get("Environment") or {}),
            **self._environment,
        }
        stream = f"{self._stream}/{name}" if len(spec.containers) > 1 else self._stream
        write_line = partial(self._job.logs.write_line, stream)
        container = Container(sandbox, image.build_serve_command(port), variables, write_line)
        self._containers.append(container)

    def _wait_for_ping(self, container: Container, port: int, deadline: float) -> None:
        settings = self._job.spec.settings
        while True:
            response = send_get(port, "/ping", settings.ping_attempt_seconds)
            if response is not None and response[0] == 200:
                return
            if container.exit_code is not None or time.monotonic() >= deadline:
                raise AlgorithmFailedError(PING_FAILED)
            self._job.stop_flag.wait(settings.ping_interval_seconds)
            self._job.stop_flag.raise_if_set()

    @property
    def are_started(self) -> bool:
        """Whether every container has been started, whether or not it answers yet."""
        return len(self._containers) == len(self._images)

    @property
    def pids(self) -> list[int]:
        """The first process of each container that runs."""
        return [container.pid for container in list(self._containers) if container.exit_code is None]

    def has_exited(self) -> bool:
        return any(container.exit_code is not None for container in self._containers)

    def stop(self) -> None:
        grace = self._job.spec.settings.transform_stop_grace_seconds
        containers = list(self._containers)
        for container in containers:
            container.terminate()
        deadline = time.monotonic() + grace
        for container in containers:
            container.stop(max(0.0, deadline - time.monotonic()))
        self._release()

    def freeze(self) -> None:
        """Freeze all containers (SIGSTOP)."""
        for container in list(self._containers):
            container.freeze()

    def kill(self) -> None:
        for container in list(self._containers):
            container.kill()
        self._release()

    def _release(self) -> None:
        with self._lock:
            ended, self._reservations = self._reservations, []
        for reservation in ended:
            reservation.release()


def unpack_model(s3: S3Storage, uri: str, folder: Path, container_name: str, max_bytes: int) -> None:
    """Unpack the archive at `uri` into `folder`, at most `max_bytes` bytes.

    Raises:
        ClientFailedError: it cannot be read, is not a .tar.gz, unpacks to more, or a member leaves the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    message = f'Failed to extract model data archive for container "{container_name}" from URL "{uri}". '
    try:
        unpack_tar_gz(s3.stream_object(S3Address.parse(uri)), folder, max_bytes)
    except ArchiveTooLargeError as error:
        raise ClientFailedError(f"{message}{error}") from error
    except S3_ERRORS as error:
        raise ClientFailedError(
            f'Failed to download model data for container "{container_name}" from URL: "{uri}". '
            "Please ensure that there is an object located at the URL and that the role passed to CreateModel has "
            f"permissions to download the model. ({str(error).splitlines()[0]})"
        ) from error
    except (tarfile.TarError, *GZIP_ERRORS, OSError, ValueError) as error:
        raise ClientFailedError(
            f"{message}Please ensure that the object located at the URL is a valid tar.gz archive."
        ) from error
