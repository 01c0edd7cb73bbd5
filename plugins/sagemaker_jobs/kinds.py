"""The two kinds of job, processing and transform: the names that SageMaker's API uses for each."""

from __future__ import annotations

from typing import Any


class JobKind:
    """Names of one kind of job, all derived from its name at AWS.

    The fields are those of requests, descriptions and summaries. ``status_field`` holds InProgress, Completed, Failed,
    Stopping or Stopped; ``started_field`` when the instances were ready, where billing starts, and ``ended_field`` when
    it ended.
    """

    def __init__(self, name: str) -> None:
        method = f"{name.lower()}_job"
        self.name = name
        self.noun = f"{name.lower()} job"
        self.create_operation = f"Create{name}Job"
        self.create_method = f"create_{method}"
        self.describe_method = f"describe_{method}"
        self.stop_method = f"stop_{method}"
        self.list_method = f"list_{method}s"
        self.summaries_field = f"{name}JobSummaries"
        self.name_field = f"{name}JobName"
        self.arn_field = f"{name}JobArn"
        self.status_field = f"{name}JobStatus"
        self.started_field = f"{name}StartTime"
        self.ended_field = f"{name}EndTime"
        self.log_group = f"/aws/sagemaker/{name}Jobs"

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


PROCESSING, TRANSFORM = JobKind("Processing"), JobKind("Transform")
KINDS = {kind.name: kind for kind in (PROCESSING, TRANSFORM)}

RUNNING_STATUSES = frozenset({"InProgress", "Stopping"})
ENDED_STATUSES = frozenset({"Completed", "Failed", "Stopped"})
