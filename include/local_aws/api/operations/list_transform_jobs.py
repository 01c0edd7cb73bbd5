"""ListTransformJobs: newest first unless asked otherwise."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.kinds import TRANSFORM
from include.local_aws.api.listing import query


def list_transform_jobs(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = query(call.request, {"kind": "transform", "region": call.region}, TRANSFORM.default_order)
    jobs = call.services.store.jobs.select(page.where, page.values, page.tail)
    return {
        "TransformJobSummaries": [
            {
                "TransformJobName": job.name,
                "TransformJobArn": job.arn,
                "CreationTime": job.created_at,
                "TransformEndTime": job.ended_at,
                "LastModifiedTime": job.modified_at,
                "TransformJobStatus": job.status,
                "FailureReason": job.failure_reason,
            }
            for job in jobs[: page.size]
        ],
        "NextToken": page.next_token(jobs),
    }
