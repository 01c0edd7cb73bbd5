"""One instance of a processing job: its folders, its inputs, its container, its outputs."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from local_aws.runner.containers.container_process import Container
from local_aws.runner.containers.images import Image
from local_aws.runner.containers.sandbox import Sandbox
from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address
from local_aws.runner.failures import ClientFailedError, ServiceFailedError, build_out_of_memory_failure
from local_aws.runner.job_context import JobContext
from local_aws.runner.processing.host_addresses import find_unknown_hosts
from local_aws.runner.processing.pipes import PipeFeeder
from local_aws.runner.processing.processing_request import (
    ProcessingInput,
    ProcessingOutput,
    write_config_files,
)
from local_aws.runner.usage_meter import UsageMeter

POLL_SECONDS = 0.05
MAX_EXIT_MESSAGE_BYTES = 1024
UNKNOWN_HOSTS = (
    "container: {hosts} cannot be resolved: with isolation base_dir, a container has the /etc/hosts of this machine. "
    "To let instances reach each other, make bwrap or unshare possible, or name each in that file with an address of "
    "its own, such as 127.64.0.1."
)


class ProcessingInstance:
    """algo-N. `run` returns the container's exit code; `upload` may follow, from the same thread or another."""

    def __init__(
        self,
        job: JobContext,
        host: str,
        image: Image,
        inputs: Sequence[tuple[ProcessingInput, list[InputObject]]],
        outputs: Sequence[ProcessingOutput],
        hosts_file: Path,
    ) -> None:
        self.job = job
        self.name = host
        self.image = image
        self.inputs = inputs
        self.outputs = outputs
        self.meter = UsageMeter(host)
        # Network isolation on AWS: no way out and no credentials inside the container.
        network = not job.spec.network_isolation
        self.sandbox = Sandbox(
            job.isolation, job.spec.work_dir / host, image.visible_paths, network, hosts_file
        )
        self.stream = f"{job.spec.name}/{host}-{int(time.time() * 1000)}"
        self._memory = job.create_memory_meter(host)
        self._uploaded: dict[Path, tuple[int, int]] = {}

    def run(self) -> int | None:
        """Prepares the folders, runs the container to its end; None if the job was stopped before it started.

        The calling thread must live until the container ends.
        """
        write_config_files(self.sandbox.to_host_path("/opt/ml/config"), self.job.spec, self.name)
        self.sandbox.to_host_path("/opt/ml/output").mkdir(exist_ok=True)
        for output in self.outputs:
            self.sandbox.to_host_path(output.local_path).mkdir(parents=True, exist_ok=True)
        feeders = [feeder for given, objects in self.inputs for feeder in self._prepare_input(given, objects)]
        if self.job.stop_flag.is_set():
            return None
        app = self.job.spec.request["AppSpecification"]
        argv = self.image.build_run_command(app.get("ContainerEntrypoint"), app.get("ContainerArguments"))
        if not argv:
            raise ServiceFailedError
        variables = {
            **self.image.build_environment(),
            **self.job.build_service_environment(),
            **self.job.spec.request.get("Environment", {}),
        }
        if unknown := self._find_unknown_hosts():
            self._log(UNKNOWN_HOSTS.format(hosts=", ".join(unknown)))
        for feeder in feeders:
            feeder.start()
        try:
            with self.meter.track_busy():
                container = Container(self.sandbox, argv, variables, self._log)
                self._wait_and_upload(container)
                return container.wait()
        finally:
            for feeder in feeders:
                feeder.stop()
            if self._memory is not None:
                self._memory.publish()

    def _find_unknown_hosts(self) -> list[str]:
        """The hosts that this one cannot reach by name."""
        hosts = self.job.spec.hosts
        return find_unknown_hosts(hosts) if self.job.isolation == "base_dir" and len(hosts) > 1 else []

    def _wait_and_upload(self, container: Container) -> None:
        """Until it ends: continuous uploads, faults, too little memory, stop."""
        started = last_upload = time.monotonic()
        settings, pop_due_fault = self.job.spec.settings, self.job.faults.pop_due_fault
        continuous = [output for output in self.outputs if output.is_continuous]
        while container.wait(POLL_SECONDS) is None:
            now = time.monotonic()
            if self.job.stop_flag.is_set():
                container.stop(settings.processing_stop_grace_seconds)
            elif self._memory is not None and self._memory.is_exceeded_by([container.pid]):
                container.kill()
                raise build_out_of_memory_failure(settings.out_of_memory)
            elif fault := pop_due_fault(self.name, objects_done=None, seconds_running=now - started):
                if fault.kind == "freeze_container":
                    container.freeze()
                    continue
                container.kill()
                if fault.kind == "lose_instance":
                    raise ServiceFailedError
            elif continuous and now - last_upload >= settings.continuous_upload_seconds:
                self.upload(continuous)
                last_upload = time.monotonic()
        container.kill()

    def upload(self, outputs: Sequence[ProcessingOutput]) -> None:
        """Files that are new or changed since the last upload; symbolic links stay behind, as on AWS."""
        for output in outputs:
            folder = self.sandbox.to_host_path(output.local_path)
            for path in _iter_files(folder):
                info = path.stat()
                version = (info.st_mtime_ns, info.st_size)
                if self._uploaded.get(path) == version:
                    continue
                key = output.prefix.key + path.relative_to(folder).as_posix()
                try:
                    size = self.job.s3.upload(path, S3Address(output.prefix.bucket, key))
                except S3_ERRORS as error:
                    message = f"Failed to upload output {output.name} to {output.uri}: {error}"
                    raise ClientFailedError(message) from error
                self._uploaded[path] = version
                self.meter.add(bytes_out=size)

    def read_exit_message(self) -> str:
        """The content of /opt/ml/output/message; raises ClientFailedError if that is not UTF-8."""
        path = self.sandbox.to_host_path("/opt/ml/output/message")
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            raw = file.read(MAX_EXIT_MESSAGE_BYTES * 4)
        try:
            # A cut may fall inside a character: an error in the last three bytes is the cut's.
            return raw.decode() if len(raw) < MAX_EXIT_MESSAGE_BYTES * 4 else raw[:-3].decode(errors="ignore")
        except UnicodeDecodeError as error:
            raise ClientFailedError(f"/opt/ml/output/message is not UTF-8: {error}") from error

    def _prepare_input(
        self, processing_input: ProcessingInput, objects: list[InputObject]
    ) -> Iterator[PipeFeeder]:
        target = self.sandbox.to_host_path(processing_input.local_path)
        if processing_input.is_pipe:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield PipeFeeder(self.job, target, processing_input, objects, self.meter)
            return
        target.mkdir(parents=True, exist_ok=True)
        for item in objects:
            if self.job.stop_flag.is_set():
                return
            path = Path(os.path.normpath(target / item.relative_key))
            if not path.is_relative_to(target):
                raise ClientFailedError(
                    f"Failed to download data. The key {item.key!r} leaves {processing_input.local_path}"
                )
            try:
                size = self.job.s3.download(item.address, path)
            except S3_ERRORS as error:
                raise ClientFailedError(
                    f"Failed to download data. GetObject failed for {item.address}: {error}"
                ) from error
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise ClientFailedError(
                    f"Failed to download data. {item.address} cannot be a file and a folder at once"
                ) from error
            self.meter.add(objects=1, bytes_in=size)

    def _log(self, text: str) -> None:
        self.job.logs.write_line(self.stream, text)


def _iter_files(folder: Path) -> Iterator[Path]:
    """Regular files below `folder`, in name order. A file that goes away meanwhile is left out."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            try:
                regular = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            if regular:
                yield path
