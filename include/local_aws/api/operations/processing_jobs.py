"""Creates, describes and lists processing jobs; unlike CreateTransformJob, CreateProcessingJob does not check S3."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import create_job, describe_job, refuse_duplicate
from include.local_aws.api.kinds import PROCESSING
from include.local_aws.api.listing import build_query
from include.local_aws.api.processing_rules import check_processing_request, list_clusters
from include.local_aws.api.roles import require_role

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
    missing = catalogue.missing_processing_job(call.request["ProcessingJobName"])
    job, answer = describe_job(call, PROCESSING, missing)
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


def list_processing_jobs(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = build_query(
        call.request, {"kind": "processing", "region": call.region}, PROCESSING.default_sort_order
    )
    jobs = call.services.store.jobs.select(page.where, page.values, page.order_and_limit)
    return {
        "ProcessingJobSummaries": [
            {
                "ProcessingJobName": job.name,
                "ProcessingJobArn": job.arn,
                "CreationTime": job.created_at,
                "ProcessingEndTime": job.ended_at,
                "LastModifiedTime": job.modified_at,
                "ProcessingJobStatus": job.status,
                "FailureReason": job.failure_reason,
                "ExitMessage": job.exit_message,
            }
            for job in jobs[: page.page_size]
        ],
        "NextToken": page.build_next_token(jobs),
    }
