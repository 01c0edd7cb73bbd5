"""The two kinds of job, processing and transform: the names that SageMaker's API uses for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """Names of one kind of job, all derived from its name at AWS: see ``_build_kind``.

    The fields are those of requests, descriptions and summaries. ``status_field`` holds InProgress, Completed, Failed,
    Stopping or Stopped; ``started_field`` when the instances were ready, where billing starts, and ``ended_field`` when
    it ended.
    """

    name: str
    noun: str
    create_operation: str
    create_method: str
    describe_method: str
    stop_method: str
    list_method: str
    summaries_field: str
    name_field: str
    arn_field: str
    status_field: str
    started_field: str
    ended_field: str
    log_group: str

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


def _build_kind(name: str) -> JobKind:
    method = f"{name.lower()}_job"
    return JobKind(
        name=name,
        noun=f"{name.lower()} job",
        create_operation=f"Create{name}Job",
        create_method=f"create_{method}",
        describe_method=f"describe_{method}",
        stop_method=f"stop_{method}",
        list_method=f"list_{method}s",
        summaries_field=f"{name}JobSummaries",
        name_field=f"{name}JobName",
        arn_field=f"{name}JobArn",
        status_field=f"{name}JobStatus",
        started_field=f"{name}StartTime",
        ended_field=f"{name}EndTime",
        log_group=f"/aws/sagemaker/{name}Jobs",
    )


PROCESSING, TRANSFORM = _build_kind("Processing"), _build_kind("Transform")
KINDS = {kind.name: kind for kind in (PROCESSING, TRANSFORM)}

RUNNING_STATUSES = frozenset({"InProgress", "Stopping"})
ENDED_STATUSES = frozenset({"Completed", "Failed", "Stopped"})
