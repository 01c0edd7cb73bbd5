"""The two kinds of job, processing and transform: the names that SageMaker's API uses for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """Names of one kind of job: client methods, API operation, fields, log group and console page."""

    name: str
    noun: str
    create_method: str
    describe_method: str
    stop_method: str
    list_method: str
    summaries_field: str
    log_group: str
    console_page: str

    @property
    def create_operation(self) -> str:
        """Name of the create operation in AWS's service model."""
        return f"Create{self.name}Job"

    @property
    def name_field(self) -> str:
        """Field that holds the job's name in requests, descriptions and summaries."""
        return f"{self.name}JobName"

    @property
    def arn_field(self) -> str:
        """Field that holds the job's ARN."""
        return f"{self.name}JobArn"

    @property
    def status_field(self) -> str:
        """Field that holds InProgress, Completed, Failed, Stopping or Stopped."""
        return f"{self.name}JobStatus"

    @property
    def started_field(self) -> str:
        """Field that holds when the instances were ready: billing starts here."""
        return f"{self.name}StartTime"

    @property
    def ended_field(self) -> str:
        """Field that holds when billing ended."""
        return f"{self.name}EndTime"

    def compute_billed_seconds(self, description: dict[str, Any]) -> float:
        """Instance seconds that AWS bills for the job: from start to end, times instances."""
        started, ended = description.get(self.started_field), description.get(self.ended_field)
        if started is None or ended is None:
            return 0.0
        count = self.get_cluster_config(description).get("InstanceCount", 1)
        seconds: float = (ended - started).total_seconds() * count
        return round(seconds, 3)

    def get_cluster_config(self, description: dict[str, Any]) -> dict[str, Any]:
        """The part of a request or description that holds InstanceType and InstanceCount; {} if absent."""
        if self is PROCESSING:
            cluster: dict[str, Any] = description.get("ProcessingResources", {}).get("ClusterConfig", {})
            return cluster
        resources: dict[str, Any] = description.get("TransformResources", {})
        return resources

    def list_output_uris(self, description: dict[str, Any]) -> list[str]:
        """S3 URIs where the job writes, in the order of the request."""
        if self is PROCESSING:
            outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
            return [output["S3Output"]["S3Uri"] for output in outputs if "S3Output" in output]
        uri = description.get("TransformOutput", {}).get("S3OutputPath")
        return [uri] if uri else []


PROCESSING = JobKind(
    name="Processing",
    noun="processing job",
    create_method="create_processing_job",
    describe_method="describe_processing_job",
    stop_method="stop_processing_job",
    list_method="list_processing_jobs",
    summaries_field="ProcessingJobSummaries",
    log_group="/aws/sagemaker/ProcessingJobs",
    console_page="processing-jobs",
)
TRANSFORM = JobKind(
    name="Transform",
    noun="transform job",
    create_method="create_transform_job",
    describe_method="describe_transform_job",
    stop_method="stop_transform_job",
    list_method="list_transform_jobs",
    summaries_field="TransformJobSummaries",
    log_group="/aws/sagemaker/TransformJobs",
    console_page="transform-jobs",
)
KINDS = {kind.name: kind for kind in (PROCESSING, TRANSFORM)}

RUNNING_STATUSES = frozenset({"InProgress", "Stopping"})
ENDED_STATUSES = frozenset({"Completed", "Failed", "Stopped"})
