"""Context of a job of either kind: spec, S3, logs, stop flag, image registry, events, faults."""

from __future__ import annotations

from include.local_aws.runner.events import EventWriter
from include.local_aws.runner.faults import FaultSchedule
from include.local_aws.runner.images import ImageRegistry
from include.local_aws.runner.logs import JobLogs
from include.local_aws.runner.s3 import S3Storage, make_client
from include.local_aws.runner.sandbox import detect_isolation
from include.local_aws.runner.spec import RunnerSpec
from include.local_aws.runner.stopping import StopFlag


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
