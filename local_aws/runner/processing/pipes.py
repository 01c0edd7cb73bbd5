"""S3InputMode Pipe: a named pipe per input and epoch, fed from S3 while the container reads."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import S3_ERRORS
from local_aws.runner.data.unpacking import GZIP_ERRORS, gunzip
from local_aws.runner.failures import ClientFailedError
from local_aws.runner.job_context import JobContext
from local_aws.runner.processing.processing_request import ProcessingInput
from local_aws.runner.usage_meter import UsageMeter

POLL_SECONDS = 0.02


class PipeFeeder:
    """Makes `<LocalPath>_0`, writes all objects of the input into it, one after the other, then `<LocalPath>_1` …

    One pipe is one pass over the data: a container that wants another pass opens the next one. The next pipe is there
    before the present one ends, as in SageMaker's Pipe mode for training.
    """

    def __init__(
        self,
        job: JobContext,
        pipe_path: Path,
        processing_input: ProcessingInput,
        objects: list[InputObject],
        meter: UsageMeter,
    ) -> None:
        self._job = job
        self._path = pipe_path
        self._given = processing_input
        self._objects = objects
        self._meter = meter
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name=f"pipe-{processing_input.name}", daemon=True)
        self._make(0)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _pipe(self, epoch: int) -> Path:
        return self._path.with_name(f"{self._path.name}_{epoch}")

    def _make(self, epoch: int) -> None:
        os.mkfifo(self._pipe(epoch), 0o666)

    def _feed(self) -> None:
        epoch = 0
        while (target := self._open(epoch)) is not None:
            self._make(epoch + 1)
            try:
                for piece in self._bytes(count=epoch == 0):
                    if not self._write(target, piece):
                        break
            except (*S3_ERRORS, *GZIP_ERRORS) as error:
                self._job.stop_flag.set(
                    ClientFailedError(f"Failed to download data. Input {self._given.name}: {error}")
                )
                return
            finally:
                os.close(target)
            epoch += 1

    def _open(self, epoch: int) -> int | None:
        """Waits until the container opens the pipe; None once it has ended."""
        while not self._stopped.is_set():
            try:
                return os.open(self._pipe(epoch), os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            time.sleep(POLL_SECONDS)
        return None

    def _bytes(self, *, count: bool) -> Iterator[bytes]:
        for item in self._objects:
            pieces = self._job.s3.stream_object(item.address)
            if count:
                self._meter.add(objects=1, bytes_in=item.size)
            yield from gunzip(pieces) if self._given.is_gzip else pieces

    def _write(self, target: int, piece: bytes) -> bool:
        """False when the reader has gone."""
        rest = memoryview(piece)
        while rest and not self._stopped.is_set():
            try:
                rest = rest[os.write(target, rest) :]
            except BlockingIOError:
                time.sleep(POLL_SECONDS)
            except BrokenPipeError:
                return False
        return not self._stopped.is_set()
