"""Creates and describes processing jobs; unlike CreateTransformJob, CreateProcessingJob does not check S3."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.resources.job_kinds import PROCESSING
from local_aws.api.resources.jobs import create_job, describe_job, refuse_duplicate
from local_aws.api.rules.processing_rules import check_processing_request, list_clusters
from local_aws.api.rules.roles import require_role

DEFAULT_STOPPING_CONDITION = {"MaxRuntimeInSeconds": 86400}


def create_processing_job(call: Call) -> dict[str, Any]:
    """The first of InstancePreferences that fits the quotas and has free capacity is used."""
    request = call.request
    check_processing_request(request)
    refuse_duplicate(call, PROCESSING)
    require_role(call, request["RoleArn"])
    isolation = request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    return create_job(
        call, PROCESSING, list_clusters(request), containers=[], network_isolation=bool(isolation)
    )


def describe_processing_job(call: Call) -> dict[str, Any]:
    """The request, state, times, ExitMessage, and the instance type chosen from preferences."""
    job, answer = describe_job(call, PROCESSING)
    cluster = dict(job.request["ProcessingResources"]["ClusterConfig"])
    if "InstancePreferences" in cluster:
        cluster["SelectedInstanceType"] = job.instance_type
        cluster["SelectedInstanceCount"] = job.instance_count
    return {
        "StoppingCondition": DEFAULT_STOPPING_CONDITION,
        **answer,
        "ProcessingResources": {"ClusterConfig": cluster},
        "ExitMessage": job.exit_message,
        "LastModifiedTime": job.modified_at,
    }
