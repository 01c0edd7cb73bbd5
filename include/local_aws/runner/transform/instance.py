"""One instance of a transform job: its containers, its objects, its slots."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from include.local_aws.runner.failures import (
    AlgorithmFailedError,
    ClientFailedError,
    JobFailedError,
    JobStoppedError,
    ServiceFailedError,
)
from include.local_aws.runner.gunzip import gunzip
from include.local_aws.runner.images import Image
from include.local_aws.runner.inputs import InputObject
from include.local_aws.runner.job import Job
from include.local_aws.runner.s3 import Address, S3Error
from include.local_aws.runner.transform.batching import Batch, Batcher, line_batches
from include.local_aws.runner.transform.client import Chain, execution_parameters
from include.local_aws.runner.transform.data_processing import Processor, RecordError
from include.local_aws.runner.transform.invocation import ObjectLostError, invoke
from include.local_aws.runner.transform.json_path import FilterError
from include.local_aws.runner.transform.output import OutputObject
from include.local_aws.runner.transform.plan import Parameters, TransformPlan
from include.local_aws.runner.transform.servers import Servers
from include.local_aws.runner.transform.splitting import BadInputError, TooLargeError, splitter_for
from include.local_aws.runner.transform.spool import Body, Spool
from include.local_aws.runner.usage import Meter

MONITOR_SECONDS = 0.05
WINDOW_PER_SLOT = 4
FINISHERS = 2
MAX_PAYLOAD_MB = 100


class Progress:
    """Objects done in the whole job, and those that are lost."""

    def __init__(self, job: Job, total: int) -> None:
        self._job = job
        self._total = total
        self._lock = threading.Lock()
        self.finished: list[tuple[Address, Address]] = []
        self.failures: dict[str, JobFailedError] = {}

    def done(self, output: OutputObject) -> None:
        with self._lock:
            self.finished.append((output.item.address, output.target))
            done = len(self.finished)
        self._job.events.progress(done, self._total)

    def lost(self, item: InputObject, failure: JobFailedError) -> None:
        with self._lock:
            self.failures[f"{item.bucket}/{item.key}"] = failure


class Instance:
    """algo-N. `run` must be called in a thread that lives as long as the containers."""

    def __init__(
        self,
        job: Job,
        host: str,
        plan: TransformPlan,
        images: list[Image],
        objects: list[InputObject],
        progress: Progress,
        processor: Processor | None,
    ) -> None:
        self.job = job
        self.name = host
        self.meter = Meter(host)
        self._plan = plan
        self._objects = objects
        self._progress = progress
        self._processor = processor
        self._folder = job.spec.work_dir / host / "spool"
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(f"{job.spec.arn}/{host}".encode()).hexdigest()
        self._stream = f"{job.spec.name}/i-{digest[:17]}-{digest[17:49]}"
        environment = {**job.spec.request.get("Environment", {}), **plan.environment()}
        self._servers = Servers(job, host, images, self._stream, environment)
        self._queue: queue.Queue[tuple[OutputObject, int, Batch] | None] = queue.Queue()
        self._open: set[OutputObject] = set()
        self._ended = threading.Event()
        self._ready = False
        self._started = 0.0

    def run(self) -> None:
        """Raises JobFailedError or JobStoppedError when the job cannot go on; `progress` hears of lost objects."""
        self.meter.start()
        try:
            if self.job.flag.wait(self.job.spec.settings.boot_delay_seconds):
                self.job.flag.check()
            self._started = time.monotonic()
            watcher = threading.Thread(target=self._watch, name=f"{self.name}-watch", daemon=True)
            watcher.start()
            self._servers.start()
            self._ready = True
            parameters = self._plan.parameters(
                execution_parameters(self._servers.ports[0], self.job.spec.settings.ping_attempt_seconds)
                if len(self._plan.given_names) < 3
                else {}
            )
            self.job.logs.data_log(self._stream, str(parameters))
            self._transform(parameters)
            self.job.flag.check()
        finally:
            self._ended.set()
            self._servers.stop()
            self.meter.end()

    def _watch(self) -> None:
        """Faults that come with time, containers that end, and a job that ends elsewhere."""
        while not self._ended.wait(MONITOR_SECONDS):
            self._break_if_due()
            if self._ready and self._servers.one_has_ended() and not self._ended.is_set():
                self.job.flag.set(AlgorithmFailedError())
            if self.job.flag.is_set():
                # Requests in flight end with their containers.
                self._servers.stop()
                return

    def _break_if_due(self) -> None:
        if not self._servers.are_there:
            return  # a fault happens once: before there is a container it would break nothing
        fault = self.job.faults.due(
            self.name, objects=self.meter.objects, seconds=time.monotonic() - self._started
        )
        if fault is None:
            return
        if fault.kind == "freeze_container":
            self._servers.freeze()
            return
        if fault.kind == "lose_instance":
            self.job.flag.set(ServiceFailedError())
        self._servers.kill()

    def _transform(self, parameters: Parameters) -> None:
        slots = parameters.max_concurrent_transforms
        window = threading.Semaphore(slots * WINDOW_PER_SLOT)
        workers = [
            threading.Thread(target=self._guard, args=(self._work,), name=f"{self.name}-slot-{n}")
            for n in range(slots)
        ]
        for worker in workers:
            worker.start()
        with ThreadPoolExecutor(FINISHERS) as finishers:
            self._finishers = finishers
            try:
                for item in self._objects:
                    if self.job.flag.is_set():
                        break
                    self._feed(item, parameters, window)
            finally:
                for _ in workers:
                    self._queue.put(None)
                for worker in workers:
                    worker.join()
        # What the end of the job cut short leaves no part behind.
        for output in list(self._open):
            if output.fail(ServiceFailedError()):
                self._abandon(output)

    def _feed(self, item: InputObject, parameters: Parameters, window: threading.Semaphore) -> None:
        settings = self.job.spec.settings
        target = self._plan.output_of(item, flatten=settings.nested_keys == "flatten")
        newline = "never"
        if self._plan.assemble_line:
            newline = "always" if settings.assemble_line_always else "missing"
        output = OutputObject(item, target, self.job.s3.writer(target), window, newline=newline)
        self._open.add(output)
        number, fed = 0, False
        try:
            for batch in self._batches(item, parameters):
                while not window.acquire(timeout=MONITOR_SECONDS):
                    if self.job.flag.is_set():
                        break
                if self.job.flag.is_set() or output.failure is not None:
                    batch.close()
                    break
                self._queue.put((output, number, batch))
                number += 1
            else:
                fed = True
        except (BadInputError, TooLargeError, RecordError, FilterError, zlib.error, EOFError) as error:
            self._lose(output, ObjectLostError(ClientFailedError(), [str(error)]))
        except S3Error as error:
            self._lose(output, ObjectLostError(ClientFailedError(), [f"Failed to download data: {error}"]))
        # An object that a stop cut short must not end as if these were all its records.
        if fed and output.end(number):
            self._finishers.submit(self._guard, self._finish, output)
        while not settings.concurrency_across_objects and not output.settled.wait(MONITOR_SECONDS):
            if self.job.flag.is_set():
                return

    def _batches(self, item: InputObject, parameters: Parameters) -> Iterator[Batch]:
        """The object's requests."""
        settings = self.job.spec.settings
        limit = parameters.max_payload_mb * settings.mb_bytes or None

        def pieces() -> Iterator[bytes]:
            stream = self.job.s3.stream(item.address)
            return gunzip(stream) if self._plan.gzip else stream

        self.meter.add(bytes_in=item.size)
        processor = self._processor
        keep_originals = processor is not None
        before = processor.before if processor is not None else bytes
        if self._plan.split == "None":
            if limit is not None and not self._plan.gzip and item.size > limit:
                raise TooLargeError(
                    f"an object of {item.size} bytes is larger than the payload of {limit} bytes"
                )
            if processor is not None:
                # Joined and filtered as one record, which JSON in memory is anyway.
                whole = self._spooled(pieces(), limit).read()
                yield from Batcher(self._folder, limit, True, before, keep_originals).batches([whole])
            elif limit is None:
                yield Batch(Body(None, pieces), 1)
            elif not self._plan.gzip:
                yield Batch(Body(item.size, pieces), 1)
            else:
                spool = self._spooled(pieces(), limit)
                yield Batch(Body(spool.size, spool.pieces), 1, None, spool)
            return
        splitter = splitter_for(self._plan.split, single_keeps_newline=settings.single_record_keeps_newline)
        single = parameters.strategy == "SINGLE_RECORD"
        if self._plan.split == "Line" and not single and processor is None:
            yield from line_batches(self._folder, limit, pieces())
            return

        def shape(record: bytes) -> bytes:
            return splitter.strip(before(record)) if single else before(record)

        batcher = Batcher(self._folder, limit, single, shape, keep_originals)
        # A filter may make a record fit that did not; nothing above the service's own limit is held for it.
        longest = limit if processor is None else MAX_PAYLOAD_MB * settings.mb_bytes
        yield from batcher.batches(splitter.split(pieces(), longest))

    def _spooled(self, pieces: Iterator[bytes], limit: int | None) -> Spool:
        """All of it; raises TooLargeError as soon as it is larger than `limit`."""
        spool = Spool(self._folder)
        for piece in pieces:
            spool.write(piece)
            if limit is not None and spool.size > limit:
                spool.close()
                raise TooLargeError(f"an object of more than {limit} bytes is larger than the payload")
        return spool

    def _guard(self, work: Callable[..., None], *arguments: object) -> None:
        """A defect of the runner or a full disk in one thread must end the job, and its own log say why."""
        try:
            work(*arguments)
        except BaseException:
            logging.exception("%s of %s", self.name, self.job.spec.name)
            self.job.flag.set(ServiceFailedError())

    def _work(self) -> None:
        """A slot: one request at a time."""
        hop = self.job.spec.settings.pipeline_max_payload_mb * self.job.spec.settings.mb_bytes
        chain = Chain(self._servers.ports, self._folder, hop or None)
        while (task := self._queue.get()) is not None:
            output, number, batch = task
            try:
                self._one(chain, output, number, batch)
            finally:
                batch.close()
        chain.close()

    def _one(self, chain: Chain, output: OutputObject, number: int, batch: Batch) -> None:
        if self.job.flag.is_set() or output.failure is not None:
            output.drop()
            return
        try:
            with self.meter.busy():
                answer = invoke(
                    chain,
                    batch.body,
                    self._plan,
                    self.job.spec.settings,
                    self.job.flag,
                    lambda: self.meter.add(requests=1),
                    output.item.address,
                )
        except ObjectLostError as error:
            output.drop()
            self._lose(output, error)
            return
        except (JobFailedError, JobStoppedError):
            output.drop()
            return
        except (*S3Error, zlib.error, EOFError) as error:
            # The body of a request that is not spooled comes from S3 while it is sent.
            output.drop()
            self._lose(output, ObjectLostError(ClientFailedError(), [f"Failed to download data: {error}"]))
            return
        self.meter.add(records=batch.records)
        try:
            response = self._processed(batch, answer.spool)
            if output.accept(number, response):
                self._finishers.submit(self._guard, self._finish, output)
        except (RecordError, FilterError) as error:
            output.drop()
            self._lose(output, ObjectLostError(ClientFailedError(), [str(error)]))
        except S3Error as error:
            self._lose(output, ObjectLostError(ClientFailedError(), [f"Failed to upload output: {error}"]))

    def _processed(self, batch: Batch, response: Spool) -> Spool:
        """The response, joined and filtered if the job says so."""
        if self._processor is None or batch.originals is None:
            return response
        try:
            made = self._processor.after(batch.originals, response.read())
        finally:
            response.close()
        joined = Spool(self._folder)
        joined.write(made)
        return joined

    def _finish(self, output: OutputObject) -> None:
        if self.job.flag.is_set() and not self.job.spec.settings.keep_finished_outputs_on_stop:
            self._abandon(output)
            return
        try:
            size = output.close()
        except S3Error as error:
            self._lose(
                output,
                ObjectLostError(ClientFailedError(), [f"Failed to upload output: {error}"]),
                settled=True,
            )
            return
        self._settle(output)
        self.meter.add(objects=1, bytes_out=size)
        self._progress.done(output)
        self._break_if_due()

    def _lose(self, output: OutputObject, error: ObjectLostError, *, settled: bool = False) -> None:
        if not (output.fail(error.failure) or settled):
            return
        name = f"{output.item.bucket}/{output.item.key}"
        for line in error.lines:
            self.job.logs.data_log(self._stream, f"{name}: {line}")
        self._progress.lost(output.item, error.failure)
        self._abandon(output)

    def _abandon(self, output: OutputObject) -> None:
        try:
            output.abort()
        except S3Error as error:
            self.job.logs.data_log(
                self._stream, f"{output.item.bucket}/{output.item.key}: abort failed: {error}"
            )
        self._settle(output)

    def _settle(self, output: OutputObject) -> None:
        self._open.discard(output)
        output.settled.set()
