"""DescribeProcessingJob."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import describe_job
from include.local_aws.api.kinds import PROCESSING

DEFAULT_STOPPING_CONDITION = {"MaxRuntimeInSeconds": 86400}


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
