"""One instance of a transform job: runs its containers and sends its objects through concurrent slots."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local_aws.runner.containers.images import Image
from local_aws.runner.data.inputs import InputObject
from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address
from local_aws.runner.data.unpacking import GZIP_ERRORS, gunzip
from local_aws.runner.failures import (
    AlgorithmFailedError,
    ClientFailedError,
    JobFailedError,
    JobStoppedError,
    ServiceFailedError,
    build_out_of_memory_failure,
)
from local_aws.runner.job_context import JobContext
from local_aws.runner.runner_settings import InstanceType
from local_aws.runner.transform.batching import Batch, Batcher, batch_lines
from local_aws.runner.transform.client import InferencePipelineClient, fetch_execution_parameters
from local_aws.runner.transform.data_processing import RECORD_ERRORS, RecordProcessor
from local_aws.runner.transform.invocation import NO_RESPONSE, ObjectFailedError, invoke_with_retries
from local_aws.runner.transform.output_object import OutputObject
from local_aws.runner.transform.servers import ModelContainers
from local_aws.runner.transform.shared_cpu import SharedCpu
from local_aws.runner.transform.splitting import MalformedObjectError, RecordTooLargeError, get_splitter
from local_aws.runner.transform.spool import RequestBody, Spool
from local_aws.runner.transform.transform_request import VARIABLES, TransformParameters, TransformRequest
from local_aws.runner.usage_meter import UsageMeter

MONITOR_SECONDS = 0.05
QUEUED_BATCHES_PER_SLOT = 4
FINISHER_THREADS = 2
MAX_PAYLOAD_MB = 100


class ObjectOutcomes:
    """Finished and failed objects of the whole job."""

    def __init__(self, job: JobContext, total: int) -> None:
        self._job = job
        self._total = total
        self._lock = threading.Lock()
        self.finished_objects: list[tuple[S3Address, S3Address]] = []
        self.failures_by_object: dict[str, JobFailedError] = {}

    def add_finished_object(self, output: OutputObject) -> None:
        with self._lock:
            self.finished_objects.append((output.input_object.address, output.target))
            done = len(self.finished_objects)
        self._job.events.send_progress(done, self._total)

    def add_failed_object(self, item: InputObject, failure: JobFailedError) -> None:
        with self._lock:
            self.failures_by_object[f"{item.bucket}/{item.key}"] = failure


class TransformInstance:
    """algo-N. `run` must be called in a thread that lives as long as the containers."""

    def __init__(
        self,
        job: JobContext,
        host: str,
        request: TransformRequest,
        images: list[Image],
        objects: list[InputObject],
        outcomes: ObjectOutcomes,
        processor: RecordProcessor | None,
    ) -> None:
        self.job = job
        self.name = host
        self.meter = UsageMeter(host)
        self._request = request
        self._objects = objects
        self._outcomes = outcomes
        self._processor = processor
        self._folder = job.spec.work_dir / host / "spool"
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(f"{job.spec.arn}/{host}".encode()).hexdigest()
        instance_id = f"i-{digest[:17]}"
        self._stream = f"{job.spec.name}/{instance_id}-{digest[17:49]}"
        environment = {**job.spec.request.get("Environment", {}), **request.build_environment()}
        self._containers = ModelContainers(job, host, images, self._stream, environment)
        self._memory = job.create_memory_meter(instance_id)
        self._cpu = SharedCpu(job.spec.instance_type or InstanceType(), job.stop_flag)
        self._queue: queue.Queue[tuple[OutputObject, int, Batch] | None] = queue.Queue()
        self._open_outputs: set[OutputObject] = set()
        self._ended = threading.Event()
        self._ready = False
        self._started = 0.0

    def run(self) -> None:
        """Raises JobFailedError or JobStoppedError when the job cannot go on; `outcomes` records failed objects."""
        self.meter.start()
        try:
            if self.job.stop_flag.wait(self.job.spec.settings.boot_delay_seconds):
                self.job.stop_flag.raise_if_set()
            self._started = time.monotonic()
            watcher = threading.Thread(target=self._watch, name=f"{self.name}-watch", daemon=True)
            watcher.start()
            self._containers.start()
            self._ready = True
            offered: dict[str, Any] = {}
            if self._request.requested_parameters.keys() != VARIABLES.keys():
                offered = self._fetch_offered_parameters()
            parameters = self._request.resolve_parameters(offered)
            self.job.logs.write_data_log(self._stream, str(parameters))
            self._transform(parameters)
            self.job.stop_flag.raise_if_set()
        finally:
            self._ended.set()
            self._containers.stop()
            self.meter.end()
            if self._memory is not None:
                self._memory.publish()

    def _fetch_offered_parameters(self) -> dict[str, Any]:
        """What the first container answers to /execution-parameters, which may take it as long as its first /ping.

        A container that is slow to answer is asked again, each time with twice the time.
        """
        settings = self.job.spec.settings
        deadline = time.monotonic() + settings.ping_timeout_seconds
        seconds = settings.ping_attempt_seconds
        while not self._containers.has_exited() and (rest := deadline - time.monotonic()) > 0:
            offered = fetch_execution_parameters(self._containers.ports[0], min(seconds, rest))
            if offered is not None:
                return offered
            seconds *= 2
            self.job.stop_flag.wait(settings.ping_interval_seconds)
            self.job.stop_flag.raise_if_set()
        logging.warning(
            "%s of %s: no response to /execution-parameters; the defaults hold", self.name, self.job.spec.name
        )
        return {}

    def _watch(self) -> None:
        """Faults that come with time, containers that need too much memory or end, and a job that ends elsewhere."""
        while not self._ended.wait(MONITOR_SECONDS):
            self._inject_due_fault()
            if self._memory is not None and self._memory.is_exceeded_by(self._containers.pids):
                self.job.stop_flag.set(build_out_of_memory_failure(self.job.spec.settings.out_of_memory))
                self._containers.kill()
            if self._ready and self._containers.has_exited() and not self._ended.is_set():
                self.job.stop_flag.set(AlgorithmFailedError())
            if self.job.stop_flag.is_set():
                # Requests in flight end with their containers.
                self._containers.stop()
                return

    def _inject_due_fault(self) -> None:
        if not self._containers.are_started:
            return  # a fault happens once: before there is a container it would break nothing
        fault = self.job.faults.pop_due_fault(
            self.name, objects_done=self.meter.objects, seconds_running=time.monotonic() - self._started
        )
        if fault is None:
            return
        if fault.kind == "freeze_container":
            self._containers.freeze()
            return
        if fault.kind == "lose_instance":
            self.job.stop_flag.set(ServiceFailedError())
        self._containers.kill()

    def _transform(self, parameters: TransformParameters) -> None:
        slots = parameters.max_concurrent_transforms
        window = threading.Semaphore(slots * QUEUED_BATCHES_PER_SLOT)
        workers = [
            threading.Thread(
                target=self._end_job_on_error, args=(self._run_slot,), name=f"{self.name}-slot-{n}"
            )
            for n in range(slots)
        ]
        for worker in workers:
            worker.start()
        with ThreadPoolExecutor(FINISHER_THREADS) as finishers:
            self._finishers = finishers
            try:
                for item in self._objects:
                    if self.job.stop_flag.is_set():
                        break
                    self._queue_object(item, parameters, window)
            finally:
                for _ in workers:
                    self._queue.put(None)
                for worker in workers:
                    worker.join()
        # What the end of the job cut short leaves no part behind.
        for output in list(self._open_outputs):
            if output.fail(ServiceFailedError()):
                self._abandon(output)

    def _queue_object(
        self, item: InputObject, parameters: TransformParameters, window: threading.Semaphore
    ) -> None:
        settings = self.job.spec.settings
        target = self._request.get_output_address(item, flatten=settings.nested_keys == "flatten")
        newline = "never"
        if self._request.assemble_with_line:
            newline = "always" if settings.assemble_line_always else "missing"
        output = OutputObject(item, target, self.job.s3.open_writer(target), window, newline=newline)
        self._open_outputs.add(output)
        number, all_queued = 0, False
        try:
            for batch in self._iter_batches(item, parameters):
                while not window.acquire(timeout=MONITOR_SECONDS):
                    if self.job.stop_flag.is_set():
                        break
                if self.job.stop_flag.is_set() or output.failure is not None:
                    batch.close()
                    break
                self._queue.put((output, number, batch))
                number += 1
            else:
                all_queued = True
        except (MalformedObjectError, RecordTooLargeError, *RECORD_ERRORS, *GZIP_ERRORS) as error:
            self._refuse_object(output, str(error))
        except S3_ERRORS as error:
            self._refuse_object(output, f"Failed to download data: {error}")
        # An object that a stop cut short must not end as if these were all its records.
        if all_queued and output.set_batch_count(number):
            self._finishers.submit(self._end_job_on_error, self._finish, output)
        while not settings.concurrency_across_objects and not output.settled.wait(MONITOR_SECONDS):
            if self.job.stop_flag.is_set():
                return

    def _iter_batches(self, item: InputObject, parameters: TransformParameters) -> Iterator[Batch]:
        """The object's requests."""
        settings = self.job.spec.settings
        limit = parameters.max_payload_mb * settings.mb_bytes or None

        def pieces() -> Iterator[bytes]:
            stream = self.job.s3.stream_object(item.address)
            return gunzip(stream) if self._request.is_gzip else stream

        self.meter.add(bytes_in=item.size)
        processor = self._processor
        keep_originals = processor is not None
        before = processor.filter_input if processor is not None else bytes
        if self._request.split_type == "None":
            if limit is not None and not self._request.is_gzip and item.size > limit:
                raise RecordTooLargeError(
                    f"an object of {item.size} bytes is larger than the payload of {limit} bytes"
                )
            if processor is not None:
                # Joined and filtered as one record, which JSON in memory is anyway.
                whole = self._spool_all(pieces(), limit).read()
                yield from Batcher(self._folder, limit, True, before, keep_originals).iter_batches([whole])
            elif limit is None:
                yield Batch(RequestBody(None, pieces), 1)
            elif not self._request.is_gzip:
                yield Batch(RequestBody(item.size, pieces), 1)
            else:
                spool = self._spool_all(pieces(), limit)
                yield Batch(RequestBody(spool.size, spool.iter_chunks), 1, None, spool)
            return
        splitter = get_splitter(self._request.split_type, settings.single_record_keeps_newline)
        single = parameters.batch_strategy == "SINGLE_RECORD"
        if self._request.split_type == "Line" and not single and processor is None:
            yield from batch_lines(self._folder, limit, pieces())
            return

        def shape(record: bytes) -> bytes:
            return splitter.strip(before(record)) if single else before(record)

        batcher = Batcher(self._folder, limit, single, shape, keep_originals)
        # A filter may make a record fit that did not; nothing above the service's own limit is held for it.
        longest = limit if processor is None else MAX_PAYLOAD_MB * settings.mb_bytes
        yield from batcher.iter_batches(splitter.split(pieces(), longest))

    def _spool_all(self, pieces: Iterator[bytes], limit: int | None) -> Spool:
        """All of it; raises RecordTooLargeError as soon as it is larger than `limit`."""
        spool = Spool(self._folder)
        for piece in pieces:
            spool.write(piece)
            if limit is not None and spool.size > limit:
                spool.close()
                raise RecordTooLargeError(f"an object of more than {limit} bytes is larger than the payload")
        return spool

    def _end_job_on_error(self, action: Callable[..., None], *arguments: object) -> None:
        """A defect of the runner or a full disk in one thread must end the job, and its own log say why."""
        try:
            action(*arguments)
        except BaseException:
            logging.exception("%s of %s", self.name, self.job.spec.name)
            self.job.stop_flag.set(ServiceFailedError())

    def _run_slot(self) -> None:
        """A slot: one request at a time."""
        hop = self.job.spec.settings.pipeline_max_payload_mb * self.job.spec.settings.mb_bytes
        chain = InferencePipelineClient(self._containers.ports, self._folder, hop or None)
        while (task := self._queue.get()) is not None:
            output, number, batch = task
            try:
                self._invoke_batch(chain, output, number, batch)
            finally:
                batch.close()
        chain.close()

    def _invoke_batch(
        self, chain: InferencePipelineClient, output: OutputObject, number: int, batch: Batch
    ) -> None:
        if self.job.stop_flag.is_set() or output.failure is not None:
            output.drop_batch()
            return
        try:
            with self.meter.track_busy():
                address = output.input_object.address
                answer = invoke_with_retries(
                    self.job, self.meter, self._cpu, chain, batch.body, self._request, address
                )
        except ObjectFailedError as error:
            output.drop_batch()
            self._fail_object(output, error)
            return
        except (JobFailedError, JobStoppedError) as error:
            output.drop_batch()
            if isinstance(error, ClientFailedError):  # too little memory
                self._write_data_log(output, NO_RESPONSE)
            return
        except (*S3_ERRORS, *GZIP_ERRORS) as error:
            # The body of a request that is not spooled comes from S3 while it is sent.
            output.drop_batch()
            self._refuse_object(output, f"Failed to download data: {error}")
            return
        self.meter.add(records=batch.record_count)
        try:
            response = self._process_response(batch, answer.spool)
            if output.accept_response(number, response):
                self._finishers.submit(self._end_job_on_error, self._finish, output)
        except RECORD_ERRORS as error:
            output.drop_batch()
            self._refuse_object(output, str(error))
        except S3_ERRORS as error:
            self._refuse_object(output, f"Failed to upload output: {error}")

    def _process_response(self, batch: Batch, response: Spool) -> Spool:
        """The response, joined and filtered if the job says so."""
        if self._processor is None or batch.original_records is None:
            return response
        try:
            made = self._processor.build_output(batch.original_records, response.read())
        finally:
            response.close()
        joined = Spool(self._folder)
        joined.write(made)
        return joined

    def _finish(self, output: OutputObject) -> None:
        if self.job.stop_flag.is_set() and not self.job.spec.settings.keep_finished_outputs_on_stop:
            self._abandon(output)
            return
        try:
            size = output.close()
        except S3_ERRORS as error:
            self._refuse_object(output, f"Failed to upload output: {error}", settled=True)
            return
        self._settle(output)
        self.meter.add(objects=1, bytes_out=size)
        self._outcomes.add_finished_object(output)
        self._inject_due_fault()

    def _refuse_object(self, output: OutputObject, line: str, *, settled: bool = False) -> None:
        self._fail_object(output, ObjectFailedError(ClientFailedError(), [line]), settled=settled)

    def _fail_object(self, output: OutputObject, error: ObjectFailedError, *, settled: bool = False) -> None:
        if not (output.fail(error.failure) or settled):
            return
        for line in error.lines:
            self._write_data_log(output, line)
        self._outcomes.add_failed_object(output.input_object, error.failure)
        self._abandon(output)

    def _abandon(self, output: OutputObject) -> None:
        try:
            output.abort()
        except S3_ERRORS as error:
            self._write_data_log(output, f"abort failed: {error}")
        self._settle(output)

    def _write_data_log(self, output: OutputObject, line: str) -> None:
        name = f"{output.input_object.bucket}/{output.input_object.key}"
        self.job.logs.write_data_log(self._stream, f"{name}: {line}")

    def _settle(self, output: OutputObject) -> None:
        self._open_outputs.discard(output)
        output.settled.set()
