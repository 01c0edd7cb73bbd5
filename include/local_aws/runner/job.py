"""What both kinds of job share: the spec, S3, logs, the stop flag, the registry, the event stream."""

from __future__ import annotations

from include.local_aws.runner.events import Events
from include.local_aws.runner.faults import Faults
from include.local_aws.runner.images import Registry
from include.local_aws.runner.logs import JobLogs
from include.local_aws.runner.s3 import Bucketeer, make_client
from include.local_aws.runner.sandbox import detect
from include.local_aws.runner.spec import Spec
from include.local_aws.runner.stopping import StopFlag


class Job:
    """One per runner process."""

    def __init__(self, spec: Spec, events: Events, flag: StopFlag) -> None:
        self.spec = spec
        self.events = events
        self.flag = flag
        self.spool_dir = spec.work_dir / "spool"
        self.spool_dir.mkdir(parents=True, exist_ok=True)
        self.s3 = Bucketeer(make_client("s3", spec.region, spec.s3_endpoint_url), self.spool_dir)
        self.logs = JobLogs(
            make_client("logs", spec.region, spec.logs_endpoint_url),
            spec.kind,
            spec.settings.log_flush_seconds,
        )
        self.registry = Registry(spec.images_file)
        self.faults = Faults(spec.faults)
        self.isolation = detect(spec.settings.isolation)

    def service_environment(self) -> dict[str, str]:
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
