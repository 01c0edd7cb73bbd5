"""Context of a job of either kind: spec, S3, logs, stop flag, image registry, faults, events to the control plane."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from local_aws.runner.container_logs import CloudWatchJobLogs
from local_aws.runner.containers.images import ImageRegistry
from local_aws.runner.containers.sandbox import detect_isolation
from local_aws.runner.data.s3_objects import S3Storage, make_client
from local_aws.runner.failures import JobFailedError, JobStoppedError, ServiceFailedError
from local_aws.runner.memory import MemoryMeter
from local_aws.runner.runner_spec import FaultSchedule, RunnerSpec
from local_aws.runner.stopping import StopFlag


class EventWriter:
    """Writes events, one JSON object a line; safe to call from several threads."""

    def __init__(self, stream: TextIO, progress_seconds: float) -> None:
        self._stream = stream
        self._progress_seconds = progress_seconds
        self._lock = threading.Lock()
        self._last_progress = 0.0

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **fields})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def send_progress(self, objects_done: int, objects_total: int) -> None:
        """Send objects done, at most once in `progress_seconds`; the last one always."""
        now = time.monotonic()
        with self._lock:
            if objects_done < objects_total and now - self._last_progress < self._progress_seconds:
                return
            self._last_progress = now
        self.send("progress", objects_done=objects_done, objects_total=objects_total)


class JobContext:
    """One per runner process."""

    def __init__(self, spec: RunnerSpec, events: EventWriter, stop_flag: StopFlag) -> None:
        self.spec = spec
        self.events = events
        self.stop_flag = stop_flag
        self.spool_dir = spec.work_dir / "spool"
        self.spool_dir.mkdir(parents=True, exist_ok=True)
        self.s3 = S3Storage(make_client("s3", spec.region, spec.s3_endpoint_url), self.spool_dir)
        logs_client = make_client("logs", spec.region, spec.logs_endpoint_url)
        self.logs = CloudWatchJobLogs(logs_client, spec.kind, spec.settings.log_flush_seconds)
        self.image_registry = ImageRegistry(spec.images_file)
        self.faults = FaultSchedule(spec.faults)
        self.isolation = detect_isolation(spec.settings.isolation)

    def create_memory_meter(self, instance: str) -> MemoryMeter | None:
        """The meter of one instance, by its name in the metric's dimension; None for a type without memory_mb."""
        spec, instance_type = self.spec, self.spec.instance_type
        if instance_type is None or instance_type.memory_mb is None:
            return None
        client = make_client("cloudwatch", spec.region, spec.logs_endpoint_url)
        namespace = f"/aws/sagemaker/{spec.kind.capitalize()}Jobs"
        host = f"{spec.name}/{instance}"
        return MemoryMeter(client, namespace, host, instance_type.memory_mb, spec.settings.metric_seconds)

    def build_service_environment(self) -> dict[str, str]:
        """Variables that AWS sets in every container; credentials and endpoint unless the network is isolated."""
        variables = {"AWS_REGION": self.spec.region, "AWS_DEFAULT_REGION": self.spec.region}
        if self.spec.network_isolation or not self.spec.s3_endpoint_url:
            return variables
        return {
            **variables,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL": self.spec.s3_endpoint_url,
        }


def run_on_instances(
    job: JobContext, instances: Sequence[Any], action: Callable[[Any], None], *, stop_others: bool = True
) -> BaseException | None:
    """Call `action` for all instances at once, each in a thread of its own.

    Returns the cause of the stop flag or else the first failure, in the order of the instances. A failure sets the
    stop flag if `stop_others`; a defect of the runner or a full disk always, and is in the runner's own log.
    """
    failures: dict[str, BaseException] = {}

    def run_one(instance: Any) -> None:
        try:
            action(instance)
        except (JobFailedError, JobStoppedError) as error:
            failures[instance.name] = error
            if stop_others:
                job.stop_flag.set(error)
        except BaseException:
            job.stop_flag.set(ServiceFailedError())
            raise

    threads = [threading.Thread(target=run_one, args=(each,), name=each.name) for each in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    in_order = (failures.get(each.name) for each in instances)
    return job.stop_flag.cause or next(filter(None, in_order), None)
