"""Context of a job of either kind: spec, S3, logs, stop flag, image registry, events, faults."""

from __future__ import annotations

from local_aws.runner.container_logs import JobLogs
from local_aws.runner.containers.images import ImageRegistry
from local_aws.runner.containers.sandbox import detect_isolation
from local_aws.runner.data.s3_objects import S3Storage, make_client
from local_aws.runner.event_stream import EventWriter
from local_aws.runner.fault_schedule import FaultSchedule
from local_aws.runner.runner_spec import RunnerSpec
from local_aws.runner.stopping import StopFlag


class JobContext:
    """One per runner process."""

    def __init__(self, spec: RunnerSpec, events: EventWriter, stop_flag: StopFlag) -> None:
        self.spec = spec
        self.events = events
        self.stop_flag = stop_flag
        self.spool_dir = spec.work_dir / "spool"
        self.spool_dir.mkdir(parents=True, exist_ok=True)
        self.s3 = S3Storage(make_client("s3", spec.region, spec.s3_endpoint_url), self.spool_dir)
        self.logs = JobLogs(
            make_client("logs", spec.region, spec.logs_endpoint_url),
            spec.kind,
            spec.settings.log_flush_seconds,
        )
        self.image_registry = ImageRegistry(spec.images_file)
        self.faults = FaultSchedule(spec.faults)
        self.isolation = detect_isolation(spec.settings.isolation)

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
